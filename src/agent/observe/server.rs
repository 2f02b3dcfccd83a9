//! The small HTTP server for probes and scrapes. It shows names and numbers, takes no input but one
//! path, and is bounded in everything.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Notify, Semaphore};

use super::Observe;
use crate::agent::config::{HealthConfig, Listen};
use crate::agent::reason::{Reason, Report, system_word};
use crate::agent::rotate;

/// Bytes a request's head may have.
const HEAD: usize = 8 * 1024;
/// Connections at the same time; one more waits in the kernel's queue.
const CONNECTIONS: usize = 32;
/// How long a connection may live: a probe needs milliseconds.
const LIFE: Duration = Duration::from_secs(5);

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Sockets bound before the process locks itself in.
pub struct Listeners {
    health: Socket,
    quit: bool,
    metrics: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the config names.
    pub fn bind(
        health: &HealthConfig,
        metrics: Option<std::net::SocketAddr>,
    ) -> Result<Listeners, Report> {
        let socket =
            match &health.listen {
                Listen::Tcp(address) => Socket::Tcp(tcp("health.listen", *address)?),
                Listen::Unix(path) => Socket::Unix(unix(path).map_err(|e| {
                    refused("health.listen", &format!("unix:{}", path.display()), &e)
                })?),
            };
        let metrics = metrics.map(|address| tcp("metrics.listen", address)).transpose()?;
        Ok(Listeners { health: socket, quit: health.quit, metrics })
    }
}

fn tcp(key: &str, address: std::net::SocketAddr) -> Result<TcpListener, Report> {
    TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|e| refused(key, &address.to_string(), &e))
}

/// Binds a Unix socket. A socket that an earlier process left behind is removed; anything else in
/// its place is not ours.
fn unix(path: &Path) -> io::Result<UnixListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn refused(key: &str, address: &str, error: &io::Error) -> Report {
    Report::new(
        Reason::ListenRefused,
        format!("can't listen on `{address}`"),
        format!("{} ({key})", system_word(error.kind())),
    )
    .hint(format!("choose another `{key}`, or end the process that listens there"))
}

/// The server while it runs.
pub struct Server {
    /// Notified when somebody asks for the end (`POST /quit`).
    pub quit: Rc<Notify>,
}

impl Server {
    /// Serves on the current thread, as tasks of a `LocalSet`.
    pub fn start(listeners: Listeners, observe: &Observe) -> io::Result<Server> {
        let quit = Rc::new(Notify::new());
        let desk = |kind| {
            Rc::new(Desk {
                kind,
                observe: observe.clone(),
                quit: listeners.quit.then(|| Rc::clone(&quit)),
                // Each address has its own: whoever fills one does not shut the other.
                places: Arc::new(Semaphore::new(CONNECTIONS)),
            })
        };
        match listeners.health {
            Socket::Tcp(listener) => serve_tcp(listener, desk(Kind::Health))?,
            Socket::Unix(listener) => serve_unix(listener, desk(Kind::Health))?,
        }
        if let Some(listener) = listeners.metrics {
            serve_tcp(listener, desk(Kind::Metrics))?;
        }
        Ok(Server { quit })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Health,
    Metrics,
}

struct Desk {
    kind: Kind,
    observe: Observe,
    quit: Option<Rc<Notify>>,
    places: Arc<Semaphore>,
}

/// Accepts connections for ever. An error of `accept` is of one connection, or of descriptors that
/// ran out; a short wait keeps the loop from spinning on the latter.
macro_rules! accept_loop {
    ($listener:expr, $desk:expr) => {
        tokio::task::spawn_local(async move {
            loop {
                let Ok(place) = Arc::clone(&$desk.places).acquire_owned().await else { return };
                match $listener.accept().await {
                    Ok((stream, _)) => {
                        let desk = Rc::clone(&$desk);
                        tokio::task::spawn_local(async move {
                            converse(stream, desk).await;
                            drop(place);
                        });
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        })
    };
}

fn serve_tcp(listener: TcpListener, desk: Rc<Desk>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    drop(accept_loop!(listener, desk));
    Ok(())
}

fn serve_unix(listener: UnixListener, desk: Rc<Desk>) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    drop(accept_loop!(listener, desk));
    Ok(())
}

async fn converse(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    desk: Rc<Desk>,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = desk.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LIFE)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(LIFE, connection).await;
}

impl Desk {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        const JSON: &str = "application/json";
        const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        match (self.kind, method, path) {
            (_, &Method::GET, "/metrics") => {
                let status = self.observe.status();
                let text = self.observe.metrics().text(&status.borrow(), rotate::now());
                reply(StatusCode::OK, OPEN_METRICS, text)
            }
            (Kind::Health, &Method::GET, "/live") => {
                reply(StatusCode::OK, JSON, r#"{"live":true}"#.to_owned())
            }
            (Kind::Health, &Method::GET, "/ready") => {
                let status = self.observe.status();
                let status = status.borrow();
                let code =
                    if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                reply(code, JSON, status.to_json(rotate::now()))
            }
            (Kind::Health, &Method::POST, "/quit") if self.quit.is_some() => {
                self.quit.iter().for_each(|quit| quit.notify_one());
                reply(StatusCode::OK, JSON, r#"{"quit":true}"#.to_owned())
            }
            (Kind::Health, _, "/quit") if self.quit.is_some() => {
                reply(StatusCode::METHOD_NOT_ALLOWED, JSON, r#"{"error":"POST only"}"#.to_owned())
            }
            (_, _, "/metrics") | (Kind::Health, _, "/live" | "/ready") => {
                reply(StatusCode::METHOD_NOT_ALLOWED, JSON, r#"{"error":"GET only"}"#.to_owned())
            }
            _ => reply(StatusCode::NOT_FOUND, JSON, r#"{"error":"not found"}"#.to_owned()),
        }
    }
}

fn reply(code: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}
