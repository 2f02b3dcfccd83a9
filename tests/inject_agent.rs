//! What `inject` writes, carried out: the real binary with the command, the variables and the probes of an
//! injected pod, beside a real OpenBao.

#![cfg(all(feature = "kube", feature = "vault", feature = "local"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs the binary under test")]

#[path = "support/agent.rs"]
mod agent;
#[path = "support/pods.rs"]
mod pods;
mod support;

use std::process::Command;

use agent::{Place, eventually, exits};
use serde_json::{Value, json};
use support::Bao;

/// A server with one secret, and a pod that asks for it in a place of its own.
struct World {
    bao: Bao,
    place: Place,
}

impl World {
    fn new() -> World {
        let bao = Bao::dev();
        bao.policy("reader", &[("secret/data/*", &["read"]), ("secret/metadata/*", &["read"])]);
        bao.write("app", &json!({ "key": "sk-injected" }));
        let place = Place::new();
        place.write("token", bao.token(&["reader"], &json!({})));
        World { bao, place }
    }

    /// The pod after it was injected. `rest` stands in its config, `command` in its container.
    fn pod(&self, mode: &str, rest: &str, command: &Value) -> Value {
        let dir = self.place.path("").display().to_string();
        let dir = dir.trim_end_matches('/');
        let config = format!(
            "stores: {{ vault: {{ kind: vault, address: \"{}\", login: {{ token: {{ file: {dir}/token }} }} }} }}\n\
             secrets: {{ app: {{ from: \"vault:secret/data/app\", refresh: 1s }} }}\n{}\n",
            self.bao.address(),
            rest.replace("DIR", dir),
        );
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "app", "annotations": {
            "sidekey.dev/inject": "true", "sidekey.dev/mode": mode, "sidekey.dev/config": config,
            "sidekey.dev/mounts": format!("secret:login={dir}"),
        } }, "spec": { "containers": [{ "name": "app", "image": "a", "command": command }] } });
        let file = self.place.write("pod.json", pod.to_string());
        let out = self.place.sidekey(&["inject", "-f", file.to_str().unwrap()]);
        exits(&out, 0);
        let pod: Value = serde_json::from_slice(&out.stdout).unwrap();
        // Where the kubelet would mount it.
        let config = pods::annotation(&pod, "sidekey.dev/config").unwrap();
        self.place.write("sidekey.yaml", config);
        pod
    }

    /// A command of a container, with its variables.
    fn command(&self, container: &Value, command: &Value) -> Command {
        let words: Vec<&str> =
            command.as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
        assert_eq!(words[0], "/sidekey", "the binary of the image");
        let mut command = self.place.command(&words[1..]);
        for variable in container["env"].as_array().into_iter().flatten() {
            command.env(variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
        }
        command
    }
}

fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    pods::containers(pod).into_iter().find(|container| container["name"] == name).unwrap()
}

const PLACES: &str = "files: { app.key: { from: app.key } }\nvolume: { path: DIR/volume }\n\
    state: { path: DIR/state }\nwhen_down: { serve_stale_for: 1h, then: unready }";

#[test]
fn an_injected_sidecar_delivers_and_answers_its_probes() {
    let world = World::new();
    let pod = world.pod("native", PLACES, &json!(["/app"]));
    let sidekey = container(&pod, "sidekey");
    let probe = |name: &str| {
        let mut command = world.command(sidekey, &sidekey[name]["exec"]["command"]);
        command.output().unwrap().status.code()
    };
    assert_eq!(probe("startupProbe"), Some(1), "nobody is there yet");
    let agent = world.place.start_as(world.command(sidekey, &sidekey["command"]));
    eventually("the startup probe", || probe("startupProbe") == Some(0));
    assert_eq!(world.place.text("app.key"), "sk-injected");
    assert_eq!(probe("livenessProbe"), Some(0));
    assert_eq!(probe("readinessProbe"), Some(0));
    assert!(world.place.path("state/health.sock").exists(), "probes need no port");
    drop(agent);
}

#[test]
fn the_init_container_of_a_classic_pod_hands_over_to_the_sidecar() {
    let world = World::new();
    let pod = world.pod("classic", PLACES, &json!(["/app"]));
    let init = container(&pod, "sidekey-init");
    exits(&world.command(init, &init["command"]).output().unwrap(), 0);
    assert_eq!(world.place.text("app.key"), "sk-injected");
    let generation = world.place.generation();
    let sidekey = container(&pod, "sidekey");
    let agent = world.place.start_as(world.command(sidekey, &sidekey["command"]));
    let mut probe = world.command(sidekey, &sidekey["startupProbe"]["exec"]["command"]);
    eventually("the startup probe", || probe.output().unwrap().status.success());
    assert_eq!(world.place.generation(), generation, "nothing moved");
    drop(agent);
}

#[test]
fn a_wrapped_command_gets_its_variables_and_nothing_of_ours() {
    let world = World::new();
    let pod = world.pod("env", "env: { APP_KEY: app.key }", &json!(["/usr/bin/env"]));
    let install = container(&pod, "sidekey-install");
    let volume = world.place.path("bin");
    std::fs::create_dir(&volume).unwrap();
    let words: Vec<&str> =
        install["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let copy = volume.join("sidekey");
    assert_eq!(words, ["/sidekey", "install", "/run/sidekey/bin/sidekey"]);
    exits(&world.place.sidekey(&["install", copy.to_str().unwrap()]), 0);

    let app = container(&pod, "app");
    let words: Vec<&str> =
        app["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words, ["/run/sidekey/bin/sidekey", "exec", "--", "/usr/bin/env"]);
    let mut command = Command::new(copy);
    command.args(&words[1..]).env_clear().env("KEPT", "yes");
    for variable in app["env"].as_array().unwrap() {
        let value = variable["value"].as_str();
        let field = || variable["valueFrom"]["fieldRef"]["fieldPath"].as_str().unwrap();
        let value = value.unwrap_or_else(|| {
            assert_eq!(field(), "metadata.annotations['sidekey.dev/config']");
            pods::annotation(&pod, "sidekey.dev/config").unwrap()
        });
        command.env(variable["name"].as_str().unwrap(), value);
    }
    let output = command.output().unwrap();
    exits(&output, 0);
    let said = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["APP_KEY=sk-injected", "KEPT=yes"]);
}
