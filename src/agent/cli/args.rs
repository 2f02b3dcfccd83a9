//! The command line as a person types it: one definition holds names, docs, defaults and examples.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Puts secrets into pods at run time, keeps them fresh, and tells the application.
#[derive(Parser, Debug)]
#[command(
    name = "sidekey",
    version,
    long_version = long_version(),
    max_term_width = 100,
    after_help = AFTER_HELP
)]
pub struct Cli {
    /// How log lines are written; without it text on a terminal, JSON otherwise.
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// The least important log lines to write.
    #[arg(long, global = true, value_enum, value_name = "LEVEL", default_value = "info")]
    pub log_level: LogLevel,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Fetch once, write the files, exit (init container, Job).
    #[command(after_help = "Example:\n  sidekey init --config /etc/sidekey/config.yaml")]
    Init(ConfigArg),
    /// Write the files and keep them fresh (sidecar).
    #[command(after_help = "Example:\n  sidekey run --config /etc/sidekey/config.yaml")]
    Run(ConfigArg),
    /// Run a command with secrets in its environment (entrypoint, laptop).
    #[command(after_help = EXEC_HELP)]
    Exec(ExecArgs),
    /// Write one secret's exact bytes to stdout (with a newline on a terminal).
    #[command(after_help = GET_HELP)]
    Get(GetArgs),
    /// Report every mistake in the config and show the plan.
    #[command(after_help = "Examples:\n  sidekey check --config sidekey.yaml\n  \
        sidekey check --live          also log in, ask for each secret, and say what policy is missing\n  \
        sidekey check --pods 2000     whether the stores bear it\n  \
        sidekey check --schema        a JSON Schema for editors")]
    Check(CheckArgs),
    /// Ask a running agent how it is: exit 0 for yes, 1 for no.
    #[command(after_help = "Example, as a probe in an image without a shell:\n  \
        startupProbe: { exec: { command: [/sidekey, health, --startup] } }")]
    Health(HealthArgs),
    /// Make and edit an encrypted local store, for a laptop or a first try.
    #[command(subcommand, after_help = LOCAL_HELP)]
    #[cfg(feature = "local")]
    Local(LocalCommand),
    /// Add Sidekey to the pods of manifests that ask for it.
    #[command(after_help = INJECT_HELP)]
    #[cfg(feature = "kube")]
    Inject(InjectArgs),
    /// Copy the binary into a volume, for containers that run `sidekey exec` (mode `env`).
    #[command(after_help = "Example:\n  sidekey install /run/sidekey/bin/sidekey")]
    #[cfg(feature = "kube")]
    Install(InstallArgs),
    /// Encrypt stdin with a key of AWS KMS, for a ciphertext in Git or in an image.
    #[command(after_help = SEAL_HELP)]
    Seal(SealArgs),
    /// Commands that later versions bring, known by name so that their absence is said plainly.
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// The version, and what this binary was built with.
fn long_version() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    const BUILT_IN: [(&str, bool); 4] = [
        ("vault", cfg!(feature = "vault")),
        ("local", cfg!(feature = "local")),
        ("aws", cfg!(feature = "aws")),
        ("kube", cfg!(feature = "kube")),
    ];
    TEXT.get_or_init(|| {
        let with = BUILT_IN.iter().filter(|(_, there)| *there).map(|(name, _)| *name);
        let with = with.collect::<Vec<_>>().join(" ");
        format!("{}\nfeatures: {with}", env!("CARGO_PKG_VERSION"))
    })
}

const AFTER_HELP: &str = "The config is the first of --config, $SIDEKEY_CONFIG (a path), \
    $SIDEKEY_CONFIG_YAML (the text itself), /etc/sidekey/config.yaml.\n\n\
    Exit codes: 0 done, 1 no (health), 64 usage, 65 unusable, 66 not there, 70 bug, 73 volume, \
    75 try again, 77 refused, 78 config.\n\n\
    Example:\n  sidekey check && sidekey run";

const EXEC_HELP: &str = "A variable's value is replaced if it is a reference: \
    STRIPE_KEY='vault:secret/data/stripe#api_key'. The command gets no variables that log in to a \
    store. Its exit code is ours, 128 and the signal if one ended it; 126 and 127 if it can't be \
    started.\n\nExamples:\n  sidekey exec -- ./server --port 8080\n  \
    sidekey exec --replace -- ./job       become the command; nothing is kept fresh";

const GET_HELP: &str = "Examples:\n  sidekey get vault:secret/data/stripe#api_key\n  \
    sidekey get vault:secret/data/stripe#api_key@3      one version\n  \
    sidekey get stripe.api_key                          a secret of the config by its name";

#[cfg(feature = "kube")]
const INJECT_HELP: &str = "A pod asks with annotations below `sidekey.dev/`. All other bytes of a manifest \
    stay as they are; a pod that can't be injected is refused, and then nothing is written.\n\n\
    Examples:\n  kustomize build . | sidekey inject | kubectl apply -f -\n  \
    sidekey inject -f deploy.yaml --diff      what would change\n  \
    sidekey inject -f manifests/ --write      change the files where they are\n  \
    sidekey inject -f deploy.yaml --remove    the manifest as it was before";

#[cfg(feature = "local")]
const LOCAL_HELP: &str = "Example:\n  sidekey local keygen key.txt\n  \
    printf %s hunter2 | sidekey local set secrets.yaml.age --key-file key.txt db.password\n  \
    sidekey local get secrets.yaml.age --key-file key.txt db.password";

#[cfg(feature = "local")]
const RECIPIENTS_HELP: &str = "Examples:\n  sidekey local recipients secrets.yaml.age\n  \
    sidekey local recipients secrets.yaml.age --add age1… --remove age1…";

const SEAL_HELP: &str = "What is printed is base64 in lines; `kms/decrypt` with `ciphertext_file` \
    reads it. docs/aws.md has its format.\n\nExample:\n  \
    sidekey seal --key alias/app --context app=orders < seed.txt > seed.enc";

/// Arguments of `seal`.
#[derive(Args, Debug)]
pub struct SealArgs {
    /// Where the config is.
    #[command(flatten)]
    pub config: ConfigArg,
    /// The store of kind `aws` that the key is in, if the config has several.
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// The key: its id, its ARN or an alias.
    #[arg(long, value_name = "KEY")]
    pub key: String,
    /// A part of the encryption context; whoever decrypts must say the same.
    #[arg(long, value_name = "NAME=VALUE")]
    pub context: Vec<String>,
}

/// Where the config is.
#[derive(Args, Debug)]
pub struct ConfigArg {
    /// The config file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Arguments of `exec`.
#[derive(Args, Debug)]
pub struct ExecArgs {
    /// Where the config is.
    #[command(flatten)]
    pub config: ConfigArg,
    /// Become the command instead of staying its parent: for what needs no fresh secrets.
    #[arg(long)]
    pub replace: bool,
    /// The command and its arguments; there is no shell.
    #[arg(
        value_name = "CMD",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true
    )]
    pub command: Vec<OsString>,
}

/// Arguments of `get`.
#[derive(Args, Debug)]
pub struct GetArgs {
    /// Where the config is.
    #[command(flatten)]
    pub config: ConfigArg,
    /// `STORE:PATH[#FIELD][@VERSION]`, or `NAME[.FIELD]` of a secret in the config.
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Let a lease that the secret comes with live to its end, instead of revoking it.
    #[arg(long)]
    pub keep_lease: bool,
}

/// Arguments of `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Where the config is.
    #[command(flatten)]
    pub config: ConfigArg,
    /// Log in to the stores too, and ask for each secret.
    #[arg(long)]
    pub live: bool,
    /// Print a JSON Schema of the config and do nothing else.
    #[arg(long, conflicts_with = "live")]
    pub schema: bool,
    /// Say what so many pods would ask of the stores, and warn if that is too much.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub pods: Option<u32>,
    /// Requests a second that a store grants to them all.
    #[arg(long, value_name = "N", default_value = "500", requires = "pods",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub quota: u32,
    /// How the answer is written.
    #[arg(long, value_enum, default_value = "text")]
    pub output: OutputFormat,
}

/// Arguments of `health`.
#[derive(Args, Debug)]
pub struct HealthArgs {
    /// Where the config is; its `health.listen` says whom to ask.
    #[command(flatten)]
    pub config: ConfigArg,
    /// Whether the first generation is there.
    #[arg(long, group = "question")]
    pub startup: bool,
    /// Whether every required file is there and good (the default).
    #[arg(long, group = "question")]
    pub ready: bool,
    /// Whether the agent itself is alive, whatever its stores do.
    #[arg(long, group = "question")]
    pub live: bool,
}

/// Arguments of `inject`.
#[cfg(feature = "kube")]
#[derive(Args, Debug)]
pub struct InjectArgs {
    /// A manifest, a directory of them (*.yaml, *.yml, *.json), or `-`; without it stdin.
    #[arg(short, long, value_name = "PATH")]
    pub file: Vec<PathBuf>,
    /// Show what would change, instead of the manifests.
    #[arg(long)]
    pub diff: bool,
    /// Take an injection back: the manifest as it was before.
    #[arg(long)]
    pub remove: bool,
    /// Change the files where they are, instead of writing to stdout.
    #[arg(long)]
    pub write: bool,
    /// The cluster's version: native sidecars need 1.29.
    #[arg(long, value_name = "VERSION", default_value = "1.29")]
    pub kube_version: String,
    /// Where a kind that Sidekey does not know has its pod template.
    #[arg(long, value_name = "KIND=PATH")]
    pub template_path: Vec<String>,
    /// Sidekey's image; best with its digest.
    #[arg(long, value_name = "IMAGE", env = "SIDEKEY_IMAGE", default_value = DEFAULT_IMAGE)]
    pub image: String,
    /// A secret of the namespace to pull the image with.
    #[arg(long, value_name = "NAME")]
    pub image_pull_secret: Vec<String>,
}

/// What `make image` makes.
#[cfg(feature = "kube")]
const DEFAULT_IMAGE: &str = concat!("localhost/sidekey:", env!("CARGO_PKG_VERSION"));

/// Arguments of `install`.
#[cfg(feature = "kube")]
#[derive(Args, Debug)]
pub struct InstallArgs {
    /// Where the copy goes: a file, or a directory that it is put into as `sidekey`.
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
}

/// What to do with a local store.
#[cfg(feature = "local")]
#[derive(Subcommand, Debug)]
pub enum LocalCommand {
    /// Make a key; its public half goes to stdout.
    Keygen {
        /// Where the key is written. An existing file is never touched.
        file: PathBuf,
    },
    /// Open the whole store in $VISUAL or $EDITOR; the plaintext stays in memory.
    Edit(LocalEdit),
    /// Show for whom the store is encrypted, or encrypt it anew for others. Comments and order stay.
    #[command(after_help = RECIPIENTS_HELP)]
    Recipients(LocalRecipients),
    /// Set one field to what stdin holds, byte for byte. Comments in the file are not kept.
    Set(LocalField),
    /// Write one field's exact bytes to stdout (with a newline on a terminal).
    Get(LocalField),
}

/// Which local store, and its key.
#[cfg(feature = "local")]
#[derive(Args, Debug)]
pub struct LocalStoreArgs {
    /// The encrypted file.
    pub file: PathBuf,
    /// The age key that opens it.
    #[arg(long, value_name = "KEY", env = "SIDEKEY_LOCAL_KEY_FILE", default_value = "key.txt")]
    pub key_file: PathBuf,
}

/// Arguments of `local edit`.
#[cfg(feature = "local")]
#[derive(Args, Debug)]
pub struct LocalEdit {
    /// Which store.
    #[command(flatten)]
    pub store: LocalStoreArgs,
    /// Further age recipients who can open the file from now on.
    #[arg(long, value_name = "AGE1…")]
    pub recipient: Vec<String>,
}

/// Arguments of `local recipients`.
#[cfg(feature = "local")]
#[derive(Args, Debug)]
pub struct LocalRecipients {
    /// Which store.
    #[command(flatten)]
    pub store: LocalStoreArgs,
    /// Who can open the file too from now on; may be given several times.
    #[arg(long, value_name = "AGE1…")]
    pub add: Vec<String>,
    /// Who can open the file no longer. What was readable must be changed where it comes from.
    #[arg(long, value_name = "AGE1…")]
    pub remove: Vec<String>,
}

/// Arguments of `local set` and `local get`.
#[cfg(feature = "local")]
#[derive(Args, Debug)]
pub struct LocalField {
    /// Which store.
    #[command(flatten)]
    pub store: LocalStoreArgs,
    /// `NAME` or `NAME.FIELD`.
    pub name: String,
}

/// How log lines are written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// How much is logged.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// And what will hurt.
    Warn,
    /// And what happened.
    Info,
    /// And what was decided.
    Debug,
    /// Everything. Still no secret.
    Trace,
}

/// How an answer is written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}
