//! moto, which plays Secrets Manager, Parameter Store, KMS and STS on the loopback address, and a
//! front before it that counts what is asked and can refuse it as AWS would.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{Reply, read_reply};
use super::ports;
use super::script::{Request, Response, Script};

/// The region of every test.
pub(crate) const REGION: &str = "eu-west-1";

/// A running moto; it ends with the process that started it.
pub(crate) struct Moto {
    pub(crate) port: u16,
    _child: Child,
}

impl Moto {
    /// The one of this test process: it takes three seconds to start.
    pub(crate) fn shared() -> &'static Moto {
        static SHARED: OnceLock<Moto> = OnceLock::new();
        SHARED.get_or_init(|| Moto::start(&[]))
    }

    /// One that checks signatures, with the key of its one user, `orders`: id and secret.
    pub(crate) fn strict() -> (&'static Moto, String, String) {
        static STRICT: OnceLock<(Moto, String, String)> = OnceLock::new();
        let (moto, id, secret) = STRICT.get_or_init(|| {
            // So many requests need no signature: those that make the user.
            let moto = Moto::start(&[("INITIAL_NO_AUTH_ACTION_COUNT", "3")]);
            moto.iam("CreateUser", "UserName=orders");
            let made = moto.iam("CreateAccessKey", "UserName=orders");
            let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22\
                          %3A%22Allow%22%2C%22Action%22%3A%22%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";
            let policy = format!("UserName=orders&PolicyName=all&PolicyDocument={policy}");
            moto.iam("PutUserPolicy", &policy);
            let between = |tag: &str| {
                let (_, rest) = made.split_once(&format!("<{tag}>")).unwrap();
                rest.split_once('<').unwrap().0.to_owned()
            };
            let (id, secret) = (between("AccessKeyId"), between("SecretAccessKey"));
            (moto, id, secret)
        });
        (moto, id.clone(), secret.clone())
    }

    fn iam(&self, action: &str, parameters: &str) -> String {
        let headers = [
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
            (
                "authorization".to_owned(),
                "AWS4-HMAC-SHA256 Credential=admin/20260101/us-east-1/iam/aws4_request, \
                 SignedHeaders=host, Signature=0"
                    .to_owned(),
            ),
        ];
        let body = format!("Action={action}&Version=2010-05-08&{parameters}");
        let reply = pass_on(self.port, "POST", "/", &headers, body.as_bytes()).good();
        String::from_utf8(reply.body).unwrap()
    }

    /// Sends a signed request as somebody else would.
    pub(crate) fn replay(&self, headers: &[(String, String)], body: &[u8]) -> Reply {
        pass_on(self.port, "POST", "/", headers, body)
    }

    fn start(environment: &[(&str, &str)]) -> Moto {
        for _ in 0..5 {
            let port = ports::free_pair();
            if let Some(child) = launch(port, environment) {
                return Moto { port, _child: child };
            }
        }
        panic!("moto found each of five free ports taken");
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// One request of an administrator, which must succeed: `secretsmanager.CreateSecret`.
    #[track_caller]
    pub(crate) fn ask(&self, target: &str, body: &Value) -> Value {
        let (service, _) = target.split_once('.').unwrap();
        let service = match service {
            "AmazonSSM" => "ssm",
            "TrentService" => "kms",
            service => service,
        };
        let scope = format!("Credential=admin/20260101/{REGION}/{service}/aws4_request");
        let headers = [
            ("x-amz-target".to_owned(), target.to_owned()),
            ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
            (
                "authorization".to_owned(),
                format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"),
            ),
        ];
        pass_on(self.port, "POST", "/", &headers, body.to_string().as_bytes()).good().json()
    }

    /// Makes a secret and gives the id of its first version.
    pub(crate) fn secret(&self, name: &str, value: &str) -> String {
        let body = json!({ "Name": name, "SecretString": value });
        text(&self.ask("secretsmanager.CreateSecret", &body)["VersionId"])
    }

    /// Gives a secret another value.
    pub(crate) fn change(&self, name: &str, value: &str) -> String {
        let body = json!({ "SecretId": name, "SecretString": value });
        text(&self.ask("secretsmanager.PutSecretValue", &body)["VersionId"])
    }

    /// Writes a parameter.
    pub(crate) fn parameter(&self, name: &str, kind: &str, value: &str) {
        let body = json!({ "Name": name, "Type": kind, "Value": value, "Overwrite": true });
        self.ask("AmazonSSM.PutParameter", &body);
    }

    /// Makes a key and gives its id.
    pub(crate) fn key(&self) -> String {
        text(&self.ask("TrentService.CreateKey", &json!({}))["KeyMetadata"]["KeyId"])
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Answers in moto's place, if it has something to say.
type Instead = Box<dyn Fn(&str, &Value) -> Option<Response> + Send>;

/// What stands before moto: a store's `endpoint`.
pub(crate) struct Front {
    script: Script,
    instead: Arc<Mutex<Instead>>,
}

impl Front {
    /// One that passes everything on.
    pub(crate) fn start() -> Front {
        let moto = Moto::shared().port;
        let instead: Arc<Mutex<Instead>> = Arc::new(Mutex::new(Box::new(|_, _| None)));
        let asked = Arc::clone(&instead);
        let script = Script::start(move |request| {
            let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
            if let Some(response) = (asked.lock().unwrap())(&action(request), &body) {
                return response;
            }
            let Request { method, path, headers, body } = request;
            let reply = pass_on(moto, method, path, headers, body);
            let kind = if reply.body.starts_with(b"<") { "text/xml" } else { "application/json" };
            let mut head = format!("HTTP/1.1 {} X\r\nContent-Type: {kind}\r\n", reply.status);
            head += &format!("Content-Length: {}\r\n\r\n", reply.body.len());
            Response::Whole([head.as_bytes(), &reply.body].concat())
        });
        Front { script, instead }
    }

    pub(crate) fn address(&self) -> String {
        self.script.address()
    }

    /// From now on `says` is asked first, with the action's name.
    pub(crate) fn instead(&self, says: impl Fn(&str, &Value) -> Option<Response> + Send + 'static) {
        *self.instead.lock().unwrap() = Box::new(says);
    }

    /// From now on everything is passed on.
    pub(crate) fn pass(&self) {
        self.instead(|_, _| None);
    }

    /// From now on one action is refused with this status and code.
    pub(crate) fn refuse(&self, action: &'static str, status: u16, code: &'static str) {
        self.instead(move |asked, _| (asked == action).then(|| refusal(status, code, "no")));
    }

    /// The actions that were asked for so far, in their order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.script.seen().iter().map(action).collect()
    }

    /// How often an action was asked for.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.asked().iter().filter(|action| *action == name).count()
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.script.seen()
    }
}

/// A refusal as the JSON services write it.
pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Response {
    Response::json(status, &[], &json!({ "__type": code, "message": message }))
}

/// A refusal as STS writes it.
pub(crate) fn refusal_xml(status: u16, code: &str) -> Response {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>no</Message></Error><RequestId>r</RequestId></ErrorResponse>"
    );
    Response::text(status, &[], &body)
}

/// The name of what a request asks for.
fn action(request: &Request) -> String {
    if let Some(target) = request.header("x-amz-target") {
        return target.rsplit('.').next().unwrap_or_default().to_owned();
    }
    let body = String::from_utf8_lossy(&request.body);
    let named = body.split('&').find_map(|pair| pair.strip_prefix("Action="));
    named.map_or_else(|| request.path.clone(), str::to_owned)
}

/// Sends a request to moto as it came.
fn pass_on(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Reply {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    let drop = ["connection", "content-length"];
    for (name, value) in headers.iter().filter(|(name, _)| !drop.contains(&name.as_str())) {
        head += &format!("{name}: {value}\r\n");
    }
    if !headers.iter().any(|(name, _)| name == "host") {
        head += "host: localhost\r\n";
    }
    head += &format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    read_reply(BufReader::new(stream)).unwrap()
}

/// `$SIDEKEY_TEST_MOTO`, or the one that `make test` installs.
fn binary() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/moto_server");
    let path = std::env::var_os("SIDEKEY_TEST_MOTO").map_or(installed, PathBuf::from);
    assert!(
        path.exists(),
        "there is no moto at {}: `make test` installs it, or set SIDEKEY_TEST_MOTO",
        path.display()
    );
    path
}

/// Starts the server and waits until it answers; `None` if it ended instead.
fn launch(port: u16, environment: &[(&str, &str)]) -> Option<Child> {
    // It ends when this process lets go of its input, however this process ends.
    let watch = r#"exec 3<&0
        "$@" </dev/null 3<&- &
        server=$!
        (read word <&3; kill -9 $server) 2>/dev/null &
        wait $server"#;
    #[expect(clippy::disallowed_methods, reason = "tests start real servers")]
    let mut command = Command::new("/bin/sh");
    let mut child = command
        .args(["-c", watch, "sh"])
        .arg(binary())
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        let mut byte = [0];
        let alive = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
            stream.write_all(b"GET /moto-api/ HTTP/1.0\r\n\r\n")?;
            stream.read_exact(&mut byte)
        });
        if alive.is_ok() {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}
