//! What a user may write, key by key. The doc comments here are the config reference.

#![expect(clippy::doc_markdown, reason = "these texts are shown to people as they are")]

use super::decode::{Named, record};
use super::units::{Mode, Size, Span};
use super::yaml::Node;
use crate::agent::config::decode::At;

record! {
    /// The whole config.
    "the config" RawConfig {
        /// What secrets, files and volumes inherit unless they say something else.
        defaults: RawDefaults,
        /// Where secrets come from: a name of your choice, and how to reach the store.
        stores: Named<RawStore>,
        /// What is fetched: a name of your choice, and from where.
        secrets: Named<RawSecret>,
        /// What the application reads: the path beneath the volume, and what stands in it.
        files: Named<RawFile>,
        /// Variables for `sidekey exec`: the variable, and the field of a secret.
        env: Named<String>,
        /// The one volume called `default`.
        volume: RawVolume,
        /// Several volumes by name; each shows whole generations, and each by itself.
        volumes: Named<RawVolume>,
        /// A second tmpfs that only Sidekey's containers mount: what a restart needs.
        state: RawState,
        /// Who is told of a new generation.
        on_change: Vec<At<RawHook>>,
        /// How the first delivery goes.
        init: RawInit,
        /// What happens while a store is down.
        when_down: RawWhenDown,
        /// When leases are given back.
        revoke: RawRevoke,
        /// Where probes ask.
        health: RawHealth,
        /// Where Prometheus scrapes, besides the health address. Off unless given.
        metrics: RawMetrics,
    }

    /// Inherited values.
    "`defaults`" RawDefaults {
        /// How often a secret without a lease is asked for. 5m unless given.
        refresh: Span,
        /// The mode of files. "0440" unless given.
        mode: Mode,
        /// The uid that owns files. Sidekey's own unless given.
        owner_user: u32,
        /// The gid that owns files. The volume's unless given.
        owner_group: u32,
    }

    /// A store.
    "a store" RawStore {
        /// `vault` (Vault and OpenBao), `aws` (Secrets Manager, Parameter Store, KMS) or `local` (an age-encrypted file).
        kind: String,
        /// `https://host:port`. $BAO_ADDR, then $VAULT_ADDR unless given.
        address: String,
        /// The namespace. $BAO_NAMESPACE, then $VAULT_NAMESPACE unless given.
        namespace: String,
        /// PEM certificates that replace the platform's roots. For a Vault $BAO_CACERT, then $VAULT_CACERT unless given.
        ca_file: String,
        /// A client certificate for TLS (PEM). $BAO_CLIENT_CERT, then $VAULT_CLIENT_CERT unless given.
        client_cert_file: String,
        /// Its key (PEM). $BAO_CLIENT_KEY, then $VAULT_CLIENT_KEY unless given.
        client_key_file: String,
        /// Hosts besides the store's own that a redirect may lead to.
        redirect_hosts: Vec<At<String>>,
        /// How Sidekey logs in; at most one. Without it the token of $BAO_TOKEN, $VAULT_TOKEN or ~/.vault-token.
        login: RawLogin,
        /// The encrypted file of a local store.
        file: String,
        /// The age key that opens it.
        key_file: String,
        /// The region of an AWS store. $AWS_REGION, then $AWS_DEFAULT_REGION, the profile's, the instance's unless given.
        region: String,
        /// The endpoint of an AWS store, for every service. The region's own unless given.
        endpoint: String,
        /// The endpoints of single services of an AWS store, such as those of a VPC.
        endpoints: RawEndpoints,
        /// Whether the FIPS endpoints of AWS are used.
        fips: bool,
        /// Whether the dual-stack (IPv6) endpoints of AWS are used.
        dual_stack: bool,
        /// A role to assume for an AWS store, with what the default chain finds.
        role_arn: String,
        /// What the role's trust policy expects as `sts:ExternalId`.
        external_id: String,
    }

    /// Endpoints of AWS by service.
    "`endpoints`" RawEndpoints {
        /// Secrets Manager's.
        secretsmanager: String,
        /// Parameter Store's.
        ssm: String,
        /// KMS's.
        kms: String,
        /// STS's, where roles are assumed.
        sts: String,
    }

    /// How Sidekey logs in.
    "`login`" RawLogin {
        /// With the pod's projected service account token.
        kubernetes: RawRoleLogin,
        /// With a signed token.
        jwt: RawRoleLogin,
        /// With a role id and a secret id.
        approle: RawAppRole,
        /// With a TLS client certificate.
        cert: RawCertLogin,
        /// With a token that somebody else logged in for.
        token: RawToken,
        /// With an AWS identity.
        aws: RawAwsLogin,
    }

    /// A login by client certificate.
    "`cert`" RawCertLogin {
        /// The role in the store; without it the store looks for one that fits.
        role: String,
        /// Where the method is mounted. `cert` unless given.
        mount: String,
        /// The certificate and its chain. `client_cert_file` of the store unless given.
        cert_file: String,
        /// The key. `client_key_file` of the store unless given.
        key_file: String,
    }

    /// A login by AWS identity.
    "`aws`" RawAwsLogin {
        /// The role in the store; without it the store takes the identity's own name.
        role: String,
        /// Where the method is mounted. `aws` unless given.
        mount: String,
        /// The region whose STS is asked. $AWS_REGION, then $AWS_DEFAULT_REGION, then us-east-1 unless given.
        region: String,
        /// What the store expects in `X-Vault-AWS-IAM-Server-ID`.
        server_id_header: String,
    }

    /// A login by a token in a file.
    "a login" RawRoleLogin {
        /// The role in the store.
        role: String,
        /// Where the method is mounted; its own name unless given.
        mount: String,
        /// The file with the token. /var/run/secrets/tokens/vault for kubernetes unless given.
        token_file: String,
    }

    /// A login by role id and secret id.
    "`approle`" RawAppRole {
        /// Where the method is mounted. `approle` unless given.
        mount: String,
        /// The file with the role id.
        role_id_file: String,
        /// The file with the secret id, or with the token that unwraps to it.
        secret_id_file: String,
    }

    /// A ready-made token: one of the two.
    "`token`" RawToken {
        /// A file.
        file: String,
        /// An environment variable.
        env: String,
    }

    /// A secret.
    "a secret" RawSecret {
        /// `STORE:PATH[#FIELD][@VERSION]`, or the long form `{ store, path, field, version }`.
        from: Node,
        /// How often it is asked for, if it has no lease.
        refresh: Span,
        /// `kv1`, `kv2` or `raw`; without it the answer's shape decides.
        engine: String,
        /// Whether the first start succeeds without it.
        optional: bool,
        /// What its deletion in the store means for files: `keep` (unless given), `remove` or `fail`.
        on_delete: String,
        /// Whether it comes with a lease; without it, `*/creds/*` does.
        lease: bool,
        /// Parameters of the request, which is then a write: `{ common_name: orders.svc, ttl: 24h }`. `NAME_file: PATH` sends what stands in a file as NAME.
        with: Named<Node>,
        /// Whether `init` may deliver a lease that nobody renews.
        allow_expiry: bool,
    }

    /// The long form of a reference.
    "`from`" RawReference {
        /// The store's name.
        store: String,
        /// The path, as it is.
        path: String,
        /// One field, as it is.
        field: String,
        /// One version.
        version: String,
    }

    /// A file.
    "a file" RawFile {
        /// `raw`, `json`, `yaml`, `dotenv`, `properties`, `shell` or `pkcs12`.
        format: String,
        /// `NAME.FIELD`, a list of them, or a mapping of keys to them.
        from: Node,
        /// A minijinja template that names secrets: `{{ db.password }}`.
        template: String,
        /// `base64`: the value is base64, and its bytes are delivered.
        decode: String,
        /// The mode, at most 0440.
        mode: Mode,
        /// The uid that owns it.
        owner_user: u32,
        /// The gid that owns it.
        owner_group: u32,
        /// The volume it stands on. `default` unless given.
        volume: String,
        /// Files of one group move together.
        group: String,
        /// `NAME.FIELD` of the password that encrypts a PKCS#12 file.
        password: String,
    }

    /// What a PKCS#12 file is made of.
    "the key store" RawKeyStore {
        /// `NAME.FIELD` of the private key.
        key: String,
        /// `NAME.FIELD` of its certificate.
        certificate: String,
        /// `NAME.FIELD` of the certificates above it.
        chain: String,
    }

    /// A volume.
    "a volume" RawVolume {
        /// Where it is mounted. /run/secrets/sidekey in a pod and for root, $XDG_RUNTIME_DIR/sidekey otherwise.
        path: String,
        /// How long the generation before the current one stays. 5m unless given.
        keep_previous: Span,
        /// Bytes that it may take. 4MiB unless given.
        size: Size,
        /// `persistent` accepts what is no tmpfs, `swap` a tmpfs that may be swapped out.
        allow: Vec<At<String>>,
    }

    /// The state.
    "`state`" RawState {
        /// Where it is mounted.
        path: String,
        /// Bytes that it may take. 2MiB unless given.
        size: Size,
        /// `persistent` accepts what is no tmpfs.
        allow: Vec<At<String>>,
    }

    /// A hook: one of `http`, `signal`, `command`.
    "a hook" RawHook {
        /// An HTTP request.
        http: RawHttp,
        /// A signal.
        signal: RawSignal,
        /// A program and its arguments; there is no shell.
        command: Vec<At<String>>,
        /// Files or groups that it waits for; any unless given.
        when: Vec<At<String>>,
        /// What shows that the application took the generation.
        confirm: RawConfirm,
    }

    /// An HTTP hook.
    "`http`" RawHttp {
        /// `http://…` or `https://…`.
        url: String,
        /// A Unix socket instead.
        unix: String,
        /// The path of the request over a Unix socket. `/` unless given.
        path: String,
        /// POST unless given.
        method: String,
        /// Further headers.
        headers: Named<String>,
    }

    /// A signal hook.
    "`signal`" RawSignal {
        /// The signal, as SIGHUP.
        send: String,
        /// To whom.
        to: RawMatch,
        /// Send it even to a process that would die of it or ignores it.
        even_if_fatal: bool,
    }

    /// Which process is meant: one of these.
    "a process" RawMatch {
        /// The short name.
        name: String,
        /// The path of the executable; for processes of the same uid.
        exe: String,
        /// Part of the command line.
        cmdline: String,
        /// A file that holds the number.
        pid_file: String,
    }

    /// A confirmation: one of `status`, `exit`, `file`.
    "`confirm`" RawConfirm {
        /// The status of the HTTP answer.
        status: u32,
        /// The exit code of the command.
        exit: u32,
        /// A file outside the volumes that holds the generation.
        file: String,
        /// How long to wait each time. 10s unless given.
        within: Span,
        /// How often to tell again. 3 unless given.
        retries: u32,
        /// `report` (unless given), `roll_back` or `restart`.
        otherwise: String,
        /// Whom to restart; the signal's `to` unless given.
        target: RawMatch,
    }

    /// The first delivery.
    "`init`" RawInit {
        /// How long it may take. 180s unless given.
        within: Span,
    }

    /// While a store is down.
    "`when_down`" RawWhenDown {
        /// How old a secret may grow before it is called stale. For ever unless given.
        serve_stale_for: Span,
        /// What then: `keep` (unless given), `unready` (the pod leaves its Services) or `exit` (the sidecar starts anew).
        then: String,
    }

    /// Leases at their end.
    "`revoke`" RawRevoke {
        /// How long the old credential lives on after its successor was confirmed. 5m unless given.
        after: Span,
        /// Whether leases and tokens are given back when `run` ends. false unless given.
        on_exit: bool,
    }

    /// Probes.
    "`health`" RawHealth {
        /// `ADDRESS:PORT` or `unix:PATH`. 127.0.0.1:8087 unless given.
        listen: String,
        /// Whether `POST /quit` ends the agent.
        quit: bool,
    }

    /// Scrapes.
    "`metrics`" RawMetrics {
        /// `ADDRESS:PORT`.
        listen: String,
    }
}
