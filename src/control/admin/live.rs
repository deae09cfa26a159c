//! The dashboard's own WebSocket: the past minutes at once, then the state each second. One text
//! is made for all who watch, and who is slow misses some: nothing waits in a queue.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::debug;

use crate::control::history::{SAMPLE_EVERY, Window};
use crate::control::talkers::{Talker, Talkers};
use crate::logic::refusal::Refusal;
use crate::logic::request::{self, RequestHead};
use crate::logic::websocket::SendOnly;
use crate::logic::websocket::handshake::{Offer, accept_for};

use super::access::BEARER;
use super::answer::{Body, text};
use super::{Admin, show};

/// Dashboards that are served at a time.
const MAX_WATCHERS: usize = 16;
/// Most header fields of a handshake.
const MAX_FIELDS: usize = 100;
/// Bytes read in one go of what a dashboard says.
const READ_BYTES: usize = 4096;
/// How long a dashboard may take for one message.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between questions for life.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long a dashboard may be silent before it is taken for gone.
const MAX_SILENCE: Duration = Duration::from_secs(30);

/// Where the state of each second goes.
#[derive(Clone, Debug)]
pub struct Watchers {
    news: watch::Sender<Arc<str>>,
    places: Arc<Semaphore>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self {
            news: watch::Sender::new(Arc::from("")),
            places: Arc::new(Semaphore::new(MAX_WATCHERS)),
        }
    }
}

/// Samples the history each second, and tells those who watch, until the future is dropped.
pub(super) async fn observe(admin: Admin) {
    let mut seconds = interval(SAMPLE_EVERY);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    seconds.tick().await;
    let mut talkers = Talkers::default();
    loop {
        seconds.tick().await;
        admin.history.sample(&admin.shared);
        if admin.watchers.news.receiver_count() == 0 {
            talkers.forget();
            continue;
        }
        let talking = talkers.look(&admin.shared.registry, Instant::now().into_std());
        let state = state(&admin, &talking).to_string();
        admin.watchers.news.send_replace(state.into());
    }
}

/// Answers a handshake; the WebSocket is served beside.
pub(super) fn open(admin: &Admin, mut request: Request<Incoming>) -> Response<Body> {
    let offer = match offer(&request) {
        Ok(offer) => offer,
        Err(refusal) => return refuse(&refusal),
    };
    let Ok(place) = Arc::clone(&admin.watchers.places).try_acquire_owned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many dashboards");
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let admin = admin.clone();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let news = admin.watchers.news.subscribe();
                let past = past(&admin);
                tokio::select! {
                    () = serve(TokioIo::new(upgraded), &past, news) => {}
                    // It comes back, to the process that has taken over.
                    () = admin.shared.left() => {}
                }
            }
            Err(error) => debug!(%error, "dashboard"),
        }
        drop(place);
    });
    switching(&offer)
}

/// The handshake, checked as those of clients are.
fn offer(request: &Request<Incoming>) -> Result<Offer, Refusal> {
    let minor = u8::from(request.version() != Version::HTTP_10);
    let mut head =
        format!("{} {} HTTP/1.{minor}\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    let head = RequestHead::parse(Bytes::from(head), MAX_FIELDS)?;
    let request = request::Request::check(head)?;
    if !request.is_websocket() {
        return Err(Refusal::UpgradeRequired);
    }
    Offer::check(&request)
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = text(status, &refusal.to_string());
    if status == StatusCode::UPGRADE_REQUIRED {
        let fields = response.headers_mut();
        fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
        fields.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}

fn switching(offer: &Offer) -> Response<Body> {
    let mut response = Response::new(Body::Left(Full::default()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = response.headers_mut();
    fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_bytes(&accept_for(offer.key())) {
        fields.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    // A browser that offers subprotocols fails the handshake when none is selected.
    if offer.protocols().iter().any(|name| &**name == BEARER) {
        fields.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(BEARER));
    }
    response
}

/// Serves a dashboard until it leaves, stalls or falls silent.
async fn serve<S>(mut stream: S, first: &str, mut news: watch::Receiver<Arc<str>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut websocket = SendOnly::new();
    let mut buffer = [0; READ_BYTES];
    let mut heard = Instant::now();
    let mut ping = interval(PING_EVERY);
    let mut next = SendOnly::text(first);
    let mut is_last = false;
    loop {
        let written = timeout(WRITE_TIMEOUT, stream.write_all(&next)).await;
        if is_last || !matches!(written, Ok(Ok(()))) || heard.elapsed() > MAX_SILENCE {
            return;
        }
        next = tokio::select! {
            read = stream.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(read) => {
                    heard = Instant::now();
                    let reply = websocket.hear(&buffer[..read]);
                    is_last = reply.is_last;
                    reply.frames
                }
            },
            changed = news.changed() => match changed {
                Ok(()) => {
                    let state = Arc::clone(&news.borrow_and_update());
                    SendOnly::text(&state)
                }
                Err(_) => return,
            },
            _ = ping.tick() => SendOnly::ping().to_vec(),
        };
    }
}

/// The state now, behind what the last minutes were like.
fn past(admin: &Admin) -> String {
    let mut state = state(admin, &[]);
    state["history"] = json!(samples(admin));
    state.to_string()
}

fn samples(admin: &Admin) -> Vec<Value> {
    let samples = admin.history.samples();
    samples.iter().map(|sample| json!(**sample)).collect()
}

fn state(admin: &Admin, talking: &[Talker]) -> Value {
    let Window {
        seconds,
        ends,
        statuses,
    } = admin.history.window();
    let talkers: Vec<Value> = talking.iter().map(talker).collect();
    let mut state = show::status(admin);
    state["sample"] = json!(admin.history.last().as_deref());
    state["window_seconds"] = json!(seconds);
    state["ends"] = json!(ends);
    state["statuses"] = json!(statuses);
    state["reloads"] = json!(admin.reload_log.reloads());
    state["talkers"] = talkers.into();
    state
}

fn talker(talker: &Talker) -> Value {
    let live = &talker.live;
    json!({
        "id": live.id.to_string(),
        "route": &*live.route.settings.name,
        "server": &*live.server.label,
        "client": live.client,
        "messages": talker.messages,
        "bytes": talker.bytes,
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;

    /// A dashboard whose socket takes `room` bytes.
    fn dashboard(room: usize) -> (DuplexStream, watch::Sender<Arc<str>>, JoinHandle<()>) {
        let (ours, theirs) = duplex(room);
        let (news, watching) = watch::channel(Arc::from(""));
        let served = tokio::spawn(async move { serve(ours, "past", watching).await });
        (theirs, news, served)
    }

    #[tokio::test(start_paused = true)]
    async fn a_dashboard_that_takes_nothing_is_cut() {
        let (_theirs, _news, served) = dashboard(2);
        let began = Instant::now();
        served.await.unwrap();
        assert_eq!(began.elapsed(), WRITE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dashboard_that_answers_no_ping_is_cut() {
        let (mut theirs, _news, served) = dashboard(1 << 20);
        let began = Instant::now();
        served.await.unwrap();
        assert!(began.elapsed() <= MAX_SILENCE + PING_EVERY);
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).await.unwrap();
        assert!(all.starts_with(&SendOnly::text("past")));
        assert!(all.ends_with(&SendOnly::ping()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_dashboard_misses_states_and_gets_the_last_one() {
        let (mut theirs, news, served) = dashboard(1);
        for state in 0..1_000 {
            news.send_replace(state.to_string().into());
        }
        drop(news);
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).await.unwrap();
        served.await.unwrap();
        assert!(all.len() < 40, "{all:?}");
        assert!(
            all.windows(5).any(|frame| frame == SendOnly::text("999")),
            "{all:?}"
        );
    }
}
