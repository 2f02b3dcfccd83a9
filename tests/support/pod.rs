//! A pod of real containers, as a kubelet sets one up: two tmpfs mounts, an init container, the
//! sidecar, and an application of another user beside it. Nothing of it outlives the test.

#![expect(clippy::unwrap_used, reason = "a test stops where its helper cannot help")]
#![expect(clippy::disallowed_methods, reason = "the test runs podman and mount")]
#![expect(clippy::print_stderr, reason = "what the containers said belongs beside the failure")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

/// The image under test, as `make image` names it.
pub(crate) const IMAGE: &str = concat!("localhost/sidekey:", env!("CARGO_PKG_VERSION"));
/// What every pod of these tests is called, before the number of the process and its own.
const PREFIX: &str = "sidekey-test-";
/// Debian's static shell, the whole of the application's image.
const BUSYBOX: &str = "/bin/busybox";
/// Where the copy of the binary lies in the mode `env`.
pub(crate) const COPY: &str = "/run/sidekey/bin/sidekey";

/// What holds the pod open.
const HOLD: &str = "/bin/busybox sleep 100000";

/// How podman runs.
const CONTAINERS_CONF: &str = include_str!("containers.conf");

/// The application: says each new value of a file, read as the docs tell readers to, and each SIGHUP.
const APPLICATION: &str = r#"
trap 'echo told' HUP
cd /secrets
while :; do
  now=$(/bin/busybox cat ..data/app.key)
  [ "$now" = "$last" ] || echo "sees $now"
  last=$now
  /bin/busybox sleep 0.1
done"#;

/// A pod, and what the node gives it. Removed when dropped.
pub(crate) struct Pod {
    name: String,
    dir: TempDir,
}

impl Pod {
    /// A pod whose volume has this root: `mode=0777` is the kubelet's own, `mode=2777,gid=GROUP`
    /// what it makes of it for a pod with an `fsGroup`.
    pub(crate) fn new(volume_root: &str) -> Pod {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let dir = tempfile::Builder::new().prefix(&format!("{name}.")).tempdir().unwrap();
        let pod = Pod { name, dir };
        for name in ["etc", "tokens", "application"] {
            fs::create_dir(pod.path(name)).unwrap();
            fs::set_permissions(pod.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        pod.mount("volume", volume_root);
        pod.mount("state", "mode=0777");
        fs::write(pod.path("containers.conf"), CONTAINERS_CONF).unwrap();
        pod.remove_leftovers();
        pod.build_application();
        pod.create();
        pod
    }

    /// A path on the node: `volume`, `state`, `etc` (the config), `tokens`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file that the containers may read, as the kubelet projects them.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// Runs `sidekey` with this argument to its end, as an init container.
    pub(crate) fn init(&self) -> Output {
        self.sidekey(&["--rm"], &["init"])
    }

    /// Starts the sidecar: the image's own command.
    pub(crate) fn start_sidecar(&self) {
        let output = self.sidekey(&["--detach", "--name", &self.container("sidecar")], &[]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// Starts the application as this user.
    pub(crate) fn start_application(&self, user: &str) {
        let volume = self.bind("volume", "/secrets:ro");
        let name = self.container("application");
        let options = ["--detach", "--name", &name, "--user", user, "--volume", &volume];
        let output = self.run(&options, &self.name, &[BUSYBOX, "sh", "-c", APPLICATION]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// Copies the binary to a volume of its own, as the init container of the mode `env` does.
    pub(crate) fn install(&self) -> Output {
        self.mount("bin", "mode=0777,size=16m");
        let bin = self.bind("bin", "/run/sidekey/bin");
        let options = ["--rm", "--user", "64917:64918", "--volume", &bin];
        self.run(&options, IMAGE, &["install", COPY])
    }

    /// Runs a command of the application, wrapped as in the mode `env`, to its end.
    pub(crate) fn wrapped(&self, user: &str, config: &str, command: &[&str]) -> Output {
        let (bin, config) =
            (self.bind("bin", "/run/sidekey/bin:ro"), format!("SIDEKEY_CONFIG_YAML={config}"));
        let tokens = self.bind("tokens", "/var/run/secrets/tokens:ro");
        let mut options = vec!["--rm", "--user", user, "--volume", &bin, "--volume", &tokens];
        options.extend(["--env", "KUBERNETES_SERVICE_HOST=192.0.2.1", "--env", &config]);
        options.extend([
            "--env",
            r#"SIDEKEY_POD_YAML=health: { listen: "unix:/run/sidekey/health.sock" }"#,
        ]);
        self.run(&options, &self.name, &[&[COPY, "exec", "--", BUSYBOX], command].concat())
    }

    /// Starts a container that only sleeps, as this user and with the node's programs at hand, and
    /// gives the number of its process in the pod.
    pub(crate) fn start_neighbour(&self, user: &str) -> u32 {
        let name = self.container("neighbour");
        let programs = ["/usr", "/lib", "/lib64"].into_iter().filter(|dir| Path::new(dir).exists());
        let programs: Vec<_> = programs.map(|dir| format!("{dir}:{dir}:ro")).collect();
        let mut options = vec!["--detach", "--name", &name, "--user", user];
        options.extend(programs.iter().flat_map(|volume| ["--volume", volume]));
        let sleep = "echo $$; exec /bin/busybox sleep 100000";
        let output = self.run(&options, &self.name, &[BUSYBOX, "sh", "-c", sleep]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        for _ in 0..300 {
            if let Ok(pid) = self.good(&["logs", &name]).parse() {
                return pid;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the neighbour does not say its number");
    }

    /// A busybox command in the neighbour's container, as its user.
    pub(crate) fn in_neighbour(&self, command: &[&str]) -> Output {
        self.podman(&[&["exec", &self.container("neighbour"), BUSYBOX], command].concat())
    }

    /// Runs busybox in a container of the application's image, with more options.
    pub(crate) fn busybox(&self, options: &[&str], command: &[&str]) -> Output {
        let command: Vec<_> = std::iter::once(BUSYBOX).chain(command.iter().copied()).collect();
        self.run(&[&["--rm"], options].concat(), &self.name, &command)
    }

    /// A command in the running sidecar.
    pub(crate) fn in_sidecar(&self, command: &[&str]) -> Output {
        self.podman(&[&["exec", &self.container("sidecar")], command].concat())
    }

    /// A busybox command in the running application's container, as this user.
    pub(crate) fn in_application(&self, user: &str, command: &[&str]) -> Output {
        let container = self.container("application");
        self.podman(&[&["exec", "--user", user, &container, BUSYBOX], command].concat())
    }

    /// What the application said so far, line by line.
    pub(crate) fn application_said(&self) -> Vec<String> {
        let said = self.good(&["logs", &self.container("application")]);
        said.lines().map(str::to_owned).collect()
    }

    /// Ends the sidecar with SIGKILL, and waits until it is gone.
    pub(crate) fn kill_sidecar(&self) {
        let name = self.container("sidecar");
        self.good(&["kill", "--signal", "KILL", &name]);
        self.good(&["wait", &name]);
    }

    /// Starts the same container again, as the kubelet does.
    pub(crate) fn restart_sidecar(&self) {
        self.good(&["start", &self.container("sidecar")]);
    }

    /// Stops the sidecar as the kubelet does, and gives its exit code.
    pub(crate) fn stop_sidecar(&self) -> String {
        self.good(&["stop", "--time", "60", &self.container("sidecar")]);
        self.inspect("{{.State.ExitCode}}")
    }

    /// The sidecar's process, as the node counts.
    pub(crate) fn sidecar_pid(&self) -> u32 {
        self.inspect("{{.State.Pid}}").parse().unwrap()
    }

    /// What podman prints of the sidecar.
    fn inspect(&self, format: &str) -> String {
        self.good(&["container", "inspect", "--format", format, &self.container("sidecar")])
    }

    /// Podman with these arguments; its output without the newline. A failure is the test's.
    #[track_caller]
    pub(crate) fn good(&self, args: &[&str]) -> String {
        let output = self.podman(args);
        assert!(output.status.success(), "podman {args:?}: {}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    /// Sidekey as the manifests run it.
    fn sidekey(&self, options: &[&str], command: &[&str]) -> Output {
        let mounts = [
            ("etc", "/etc/sidekey:ro"),
            ("tokens", "/var/run/secrets/tokens:ro"),
            ("volume", "/run/secrets/sidekey"),
            ("state", "/run/sidekey"),
        ];
        let mounts = mounts.map(|(here, there)| self.bind(here, there));
        let mut all = vec!["--user", "64917:64917", "--group-add", "2000"];
        all.extend(["--env", "KUBERNETES_SERVICE_HOST=192.0.2.1"]);
        all.extend(mounts.iter().flat_map(|mount| ["--volume", mount]));
        all.extend(options);
        self.run(&all, IMAGE, command)
    }

    /// A container of the pod, under the `restricted` Pod Security Standard and with nothing to
    /// write on but its volumes.
    fn run(&self, options: &[&str], image: &str, command: &[&str]) -> Output {
        let mut all = vec!["run", "--pod", &self.name, "--pull", "never", "--stop-signal", "TERM"];
        all.extend(["--read-only", "--read-only-tmpfs=false", "--cap-drop", "all"]);
        all.extend(["--security-opt", "no-new-privileges"]);
        all.extend(options);
        all.push(image);
        all.extend(command);
        self.podman(&all)
    }

    fn podman(&self, args: &[&str]) -> Output {
        let mut command = Command::new("podman");
        command.args(args).env("CONTAINERS_CONF", self.path("containers.conf"));
        let output = command.stdin(Stdio::null()).output();
        output.unwrap_or_else(|error| panic!("podman: {error}; `make e2e` installs it"))
    }

    fn build_application(&self) {
        assert!(Path::new(BUSYBOX).exists(), "no {BUSYBOX}: apt-get install busybox-static");
        let context = self.path("application");
        fs::copy(BUSYBOX, context.join("busybox")).unwrap();
        fs::write(context.join("Containerfile"), "FROM scratch\nCOPY busybox /bin/busybox\n")
            .unwrap();
        self.good(&["build", "--quiet", "--tag", &self.name, context.to_str().unwrap()]);
    }

    /// Removes a pod with all that was made for it.
    fn remove(&self, name: &str) {
        self.podman(&["pod", "rm", "--force", "--time", "0", name]);
        self.podman(&["rmi", "--force", name]);
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        for path in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
            if path.contains(&format!("/{name}.")) {
                let _ = Command::new("umount").args(["--lazy", path]).status();
            }
        }
    }

    /// What a run of these tests left that somebody ended by force.
    fn remove_leftovers(&self) {
        // No list, while another test removes its pod, is no failure: the next test looks again.
        let pods = self.podman(&["pod", "ps", "--format", "{{.Name}}"]);
        for name in text(&pods.stdout).lines() {
            let run = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            if run.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                self.remove(name);
            }
        }
    }

    /// The pod, held open by the application's image, so that podman builds none of its own.
    fn create(&self) {
        let mut args = vec!["pod", "create", "--name", &self.name];
        args.extend(["--share", "pid,ipc,net", "--network", "host"]);
        args.extend(["--infra-image", &self.name, "--infra-command", HOLD]);
        self.good(&args);
    }

    fn container(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    fn bind(&self, here: &str, there: &str) -> String {
        format!("{}:{there}", self.path(here).display())
    }

    fn mount(&self, name: &str, root: &str) {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        let options = format!("size=4m,nosuid,nodev,{root}");
        let mut mount = Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).status().unwrap();
        assert!(done.success(), "can't mount a tmpfs: `make e2e` runs as root");
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for what in ["sidecar", "application", "neighbour"] {
                let logs = self.podman(&["logs", &self.container(what)]);
                eprintln!("--- {what} ---\n{}{}", text(&logs.stdout), text(&logs.stderr));
            }
        }
        self.remove(&self.name);
    }
}

/// What a program printed.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
