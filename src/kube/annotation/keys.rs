//! The table of annotations: names, examples and what they do. `docs/kubernetes.md` shows the same.

/// One annotation of the table.
#[derive(Debug)]
pub struct Key {
    /// What follows `sidekey.dev/`.
    pub name: &'static str,
    /// What somebody could write.
    pub example: &'static str,
    /// What it does, and what holds without it.
    pub doc: &'static str,
}

const fn key(name: &'static str, example: &'static str, doc: &'static str) -> Key {
    Key { name, example, doc }
}

/// Every annotation there is.
pub const KEYS: &[Key] = &[
    key(
        "inject",
        "true",
        "`\"true\"` asks for Sidekey, `\"false\"` leaves the pod alone whatever else it says",
    ),
    key(
        "mode",
        "native",
        "`native` (a sidecar that starts before the containers), `classic` (an init container and a sidecar beside them), `init` (fetch once: Jobs), `env` (variables instead of files); without it `native`, below Kubernetes 1.29 `init` for Jobs and `classic` for others",
    ),
    key("config", "stores: …", "Sidekey's config, as text"),
    key(
        "config-map",
        "orders-sidekey/config.yaml",
        "the config in a ConfigMap of the namespace, `NAME` or `NAME/KEY` (`config.yaml` without it)",
    ),
    key(
        "volumes",
        "default=/run/secrets/sidekey:4Mi",
        "with `config-map`: the volumes of that config, `NAME=PATH:SIZE` with commas between; without it one, `default`, of 4Mi",
    ),
    key(
        "signal",
        "true",
        "with `config-map`: that config has a hook by signal, or one that restarts. Sidekey then runs as the application's uid, in a shared PID namespace (weak)",
    ),
    key(
        "init-within",
        "180s",
        "with `config-map`: the `init.within` of that config, for the startup probe",
    ),
    key(
        "readiness",
        "true",
        "with `config-map`: that config says `then: unready`, so Sidekey gets a readiness probe",
    ),
    key(
        "store-ports",
        "8200",
        "with `config-map`: the ports of its stores, for a service mesh that is no native sidecar",
    ),
    key(
        "containers",
        "app,worker",
        "the containers that get the files (or variables); without it all, init containers too (with `env` all but those)",
    ),
    key(
        "mounts",
        "configmap:corp-ca=/etc/tls",
        "what Sidekey reads besides: `VOLUME=PATH` for a volume of the pod, `configmap:NAME=PATH`, `secret:NAME=PATH`, with commas between",
    ),
    key(
        "uid",
        "70917",
        "the uid that Sidekey runs as: a number, `application` (weak), or `omit` for OpenShift, which gives one (weak); without it 64917, or another if a container has that",
    ),
    key(
        "group",
        "2000",
        "the group that shares the files; without it 64917. A pod with `fsGroup` shares that one",
    ),
    key("token-audience", "vault", "the audience of the projected token; without it `vault`"),
    key("init-first", "true", "puts Sidekey before a service mesh, too"),
    key("cpu-request", "10m", "without it 10m"),
    key("cpu-limit", "100m", "without it none, unless the whole pod is Guaranteed"),
    key("memory-request", "16Mi", "without it 16Mi"),
    key("memory-limit", "64Mi", "without it 28Mi and the sizes of all volumes and the state"),
    key(
        "metrics-port",
        "9187",
        "serves metrics on this port; without it on the health socket only",
    ),
    key("log-level", "info", "`error`, `warn`, `info`, `debug` or `trace`"),
    key("status", "injected", "written by `inject`"),
    key(
        "original",
        "{\"added\":[\"/spec/volumes\"]}",
        "written by `inject`: what `--remove` needs",
    ),
];
