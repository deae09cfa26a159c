//! Upstreams under concurrent demand: who gets a server, who waits, what is given back.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use prometheus::core::Collector;
use proptest::prelude::*;
use tokio::task::JoinSet;

use crate::config;
use crate::config::model::Passive;
use crate::logic::balance::{SlowStart, Unavailable};
use crate::logic::reason::EndReason;
use crate::logic::request::ClientKey;
use crate::telemetry::Metrics;

use super::dispatcher::Waiting;
use super::registry::Registry;
use super::route::{Route, RouteFigures};
use super::server::{Phase, Server};
use super::servers::Servers;
use super::upstream::{Pick, PickRequest, Upstream};

type Outcome = Result<Pick, Unavailable>;

fn servers() -> (Servers, Metrics) {
    let metrics = Metrics::new(1).unwrap();
    (Servers::new(metrics.clone()), metrics)
}

/// The upstream with these lines in force, behind servers at ports 1, 2, 3 …
fn upstream(servers: &Servers, count: u16, lines: &str) -> Arc<Upstream> {
    let list: Vec<String> = (1..=count)
        .map(|port| format!("'127.0.0.1:{port}'"))
        .collect();
    with_servers(servers, &list.join(", "), lines)
}

fn with_servers(servers: &Servers, list: &str, lines: &str) -> Arc<Upstream> {
    let text =
        format!("[listener.a]\nbind = '127.0.0.1:0'\n[upstream.u]\nservers = [{list}]\n{lines}\n");
    let config = config::parse(&text, "test.toml").unwrap();
    let settings = Arc::clone(&config.upstreams[0]);
    let addresses = (1..).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let specs = settings.servers.iter().cloned();
    let resolved: Vec<_> = specs
        .zip(addresses.map(|address| vec![address.into()]))
        .collect();
    let retries = Metrics::new(1).unwrap().retries.with_label_values(&["u"]);
    let upstream = Arc::new(Upstream::new(settings, None, servers, retries));
    let now = Instant::now();
    upstream.set_members(&resolved, servers, now);
    upstream.put_in_force(now);
    upstream
}

fn request() -> PickRequest {
    PickRequest {
        client: ClientKey::of(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        tried: vec![],
        turn: None,
    }
}

fn server(upstream: &Upstream, place: usize) -> Arc<Server> {
    Arc::clone(&upstream.members()[place].server)
}

/// Somebody who waits, looked at from time to time.
struct Line(Pin<Box<dyn Future<Output = Outcome>>>);

impl Line {
    fn join(upstream: &Upstream, request: &mut PickRequest) -> Self {
        Self::of(upstream.wait(request, Instant::now()).unwrap())
    }

    fn of(waiting: Waiting) -> Self {
        Self(Box::pin(waiting.turn()))
    }

    fn look(&mut self) -> Option<Outcome> {
        self.0.as_mut().now_or_never()
    }

    #[track_caller]
    fn taken(&mut self) -> Pick {
        self.look().expect("its turn").expect("a server")
    }
}

#[test]
fn a_freed_handshake_goes_to_who_came_first() {
    let (servers, metrics) = servers();
    let upstream = upstream(&servers, 1, "max_handshakes = 1");
    let first = upstream.pick(&request(), Instant::now()).unwrap();
    let mut lines = [(); 2].map(|()| Line::join(&upstream, &mut request()));
    assert!(lines.iter_mut().all(|line| line.look().is_none()));
    let length = metrics.queue_length.with_label_values(&["u"]);
    assert_eq!(length.get(), 2);

    drop(first.handshake);
    assert!(lines[1].look().is_none());
    let second = lines[0].taken();
    assert_eq!(length.get(), 1);
    assert_eq!(
        server(&upstream, 0).load(),
        2,
        "the first is still connected"
    );
    drop(second);
    lines[1].taken();
    assert_eq!(length.get(), 0);
}

#[test]
fn a_place_freed_between_the_refusal_and_the_queue_is_not_missed() {
    let (servers, _) = servers();
    let upstream = upstream(&servers, 1, "max_handshakes = 1");
    let holder = upstream.pick(&request(), Instant::now()).unwrap();
    assert!(upstream.pick(&request(), Instant::now()).is_err());
    // Nobody waits yet, so nobody is told.
    drop(holder);
    Line::join(&upstream, &mut request()).taken();
}

#[test]
fn nobody_overtakes_those_who_wait() {
    let (servers, _) = servers();
    let upstream = upstream(&servers, 1, "max_handshakes = 1");
    let holder = upstream.pick(&request(), Instant::now()).unwrap();
    let mut waits = Line::join(&upstream, &mut request());
    let refused = upstream.pick(&request(), Instant::now()).err();
    assert_eq!(refused, Some(Unavailable::Full));
    drop(holder);
    waits.taken();
    assert!(upstream.pick(&request(), Instant::now()).is_ok());
}

#[test]
fn who_leaves_gives_up_the_place_and_what_was_already_handed_over() {
    let (servers, _) = servers();
    let upstream = upstream(&servers, 1, "max_handshakes = 1");
    let holder = upstream.pick(&request(), Instant::now()).unwrap();
    let mut lines = vec![];
    lines.resize_with(3, || Line::join(&upstream, &mut request()));
    drop(lines.remove(0));
    drop(holder);
    // Handed to the next, who is gone before looking.
    drop(lines.remove(0));
    lines[0].taken();
    assert_eq!(server(&upstream, 0).load(), 0);
}

#[test]
fn no_more_wait_than_the_queue_is_long() {
    let (servers, _) = servers();
    let upstream = upstream(&servers, 1, "max_handshakes = 1\nqueue_length = 1");
    let _holder = upstream.pick(&request(), Instant::now()).unwrap();
    let waits = Line::join(&upstream, &mut request());
    assert!(upstream.wait(&mut request(), Instant::now()).is_none());
    drop(waits);
    assert!(upstream.wait(&mut request(), Instant::now()).is_some());
}

#[test]
fn a_retry_waits_for_another_server_holds_up_nobody_and_keeps_its_turn() {
    let (servers, _) = servers();
    let upstream = upstream(&servers, 2, "max_handshakes = 1");
    let [a, b] = [0, 1].map(|place| server(&upstream, place).id);
    let [on_a, on_b] = [(); 2].map(|()| upstream.pick(&request(), Instant::now()).unwrap());
    assert_eq!(on_a.ticket.server().id, a);
    let mut retries = request();
    let mut early = Line::join(&upstream, &mut retries);
    let mut late = Line::join(&upstream, &mut request());
    drop(on_a);
    let failed = early.taken();
    assert_eq!(failed.ticket.server().id, a);
    retries.tried.push(a);
    drop(early);

    let mut again = Line::join(&upstream, &mut retries);
    drop(failed);
    let taken = late.taken();
    assert_eq!(
        taken.ticket.server().id,
        a,
        "A is free, and no use to the retry"
    );
    let mut last = Line::join(&upstream, &mut request());
    drop(on_b);
    assert_eq!(
        again.taken().ticket.server().id,
        b,
        "it came before the last"
    );
    last.taken();
}

#[test]
fn when_no_server_is_left_those_who_wait_hear_it_at_once() {
    let (servers, _) = servers();
    let upstream = upstream(&servers, 1, "max_handshakes = 1");
    let _holder = upstream.pick(&request(), Instant::now()).unwrap();
    let mut waits = Line::join(&upstream, &mut request());
    server(&upstream, 0).checked(false, 1, 1, Instant::now());
    assert_eq!(waits.look().unwrap().err(), Some(Unavailable::Down));
}

#[test]
fn a_server_that_recovers_takes_from_the_queue() {
    let (servers, _) = servers();
    let upstream = upstream(&servers, 2, "max_handshakes = 1");
    let recovers = server(&upstream, 1);
    recovers.checked(false, 1, 1, Instant::now());
    let _holder = upstream.pick(&request(), Instant::now()).unwrap();
    let mut waits = Line::join(&upstream, &mut request());
    assert!(waits.look().is_none());
    recovers.checked(true, 1, 1, Instant::now());
    assert_eq!(waits.taken().ticket.server().id, recovers.id);
}

#[test]
fn a_reload_keeps_the_queue_and_serves_it_from_what_it_brought() {
    let (servers, _) = servers();
    let before = upstream(&servers, 1, "max_handshakes = 1");
    let holder = before.pick(&request(), Instant::now()).unwrap();
    let mut lines = [(); 2].map(|()| Line::join(&before, &mut request()));
    let after = upstream(&servers, 1, "max_handshakes = 2\nbalance = 'least_conn'");
    let second = lines[0].taken();
    assert!(lines[1].look().is_none(), "one under way, one more allowed");
    drop(before);
    drop(holder);
    lines[1].taken();
    drop(second);
    assert_eq!(server(&after, 0).load(), 0);
}

#[test]
fn a_removed_upstream_leaves_nothing_behind() {
    let (servers, metrics) = servers();
    let removed = upstream(&servers, 2, "max_handshakes = 1");
    drop(removed);
    servers.prune();
    let left: usize = metrics
        .queue_length
        .collect()
        .iter()
        .map(|family| family.get_metric().len())
        .sum();
    assert_eq!(left, 0);
}

#[test]
fn only_servers_that_were_added_or_recovered_are_cold() {
    let minute = Duration::from_secs(60);
    let (servers, _) = servers();
    let first = upstream(&servers, 1, "");
    let now = Instant::now();
    let there = server(&first, 0);
    assert_eq!(there.slow_start(minute, now), SlowStart::FULL);
    servers.started();
    let second = upstream(&servers, 2, "");
    assert_eq!(there.slow_start(minute, now), SlowStart::FULL, "it stayed");
    let cold = SlowStart::after(Duration::ZERO, minute);
    assert_eq!(server(&second, 1).slow_start(minute, now), cold, "added");
    assert_eq!(
        server(&second, 1).slow_start(Duration::ZERO, now),
        SlowStart::FULL
    );

    there.checked(false, 1, 1, now);
    there.checked(true, 1, 1, now);
    assert_eq!(there.slow_start(minute, now), cold, "recovered");
    let half = SlowStart::after(minute / 2, minute);
    assert_eq!(there.slow_start(minute, now + minute / 2), half);
    assert_eq!(there.slow_start(minute, now + minute), SlowStart::FULL);

    let later = now + minute;
    let passive = Passive {
        failures: 1,
        eject: minute,
    };
    there.failed(Phase::Connect, Some(&passive), true, later);
    let back = later + minute;
    assert_eq!(there.slow_start(minute, back), cold, "back from ejection");
    assert_eq!(there.slow_start(minute, back + minute), SlowStart::FULL);

    let even_later = back + minute;
    there.left();
    servers.adopt(there.key.clone(), second.dispatcher(), even_later);
    assert_eq!(
        there.slow_start(minute, even_later),
        SlowStart::FULL,
        "only tried out"
    );
    second.put_in_force(even_later);
    assert_eq!(there.slow_start(minute, even_later), cold, "added again");
}

#[test]
fn ten_thousand_sessions_are_listed_a_page_at_a_time_each_once() {
    const SESSIONS: usize = 10_000;
    const PAGE: usize = 1_000;
    let (servers, metrics) = servers();
    let route = route(&metrics);
    let server = server(&upstream(&servers, 1, ""), 0);
    let registry = Arc::new(Registry::new(4));
    let (client, now) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Instant::now());
    let entries: Vec<_> = (0..SESSIONS)
        .map(|at| {
            registry.enter(
                at % 4,
                Arc::clone(&route),
                Arc::clone(&server),
                client,
                None,
                now,
            )
        })
        .collect();
    let mut listed = Vec::new();
    let looked_at = AtomicU32::new(0);
    loop {
        let page = registry.page(listed.last().copied(), PAGE, |_| {
            looked_at.fetch_add(1, SeqCst);
            true
        });
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= PAGE);
        listed.extend(page.iter().map(|live| live.id));
    }
    assert_eq!(listed.len(), entries.len());
    assert!(listed.is_sorted_by(|a, b| a < b), "none twice");
    let most = u32::try_from(SESSIONS * SESSIONS / PAGE).unwrap();
    assert!(looked_at.load(SeqCst) <= most, "{looked_at:?}");
}

#[test]
fn a_session_that_was_sent_away_is_no_servers_share_any_more() {
    let (servers, metrics) = servers();
    let upstream = upstream(&servers, 1, "");
    let (route, server) = (route(&metrics), server(&upstream, 0));
    let registry = Arc::new(Registry::new(1));
    let (client, now) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Instant::now());
    let enter = || {
        let (route, server) = (Arc::clone(&route), Arc::clone(&server));
        registry.enter(0, route, server, client, None, now)
    };
    let (first, second) = (enter(), enter());
    let held = || upstream.holdings(now)[0].1.websockets;
    assert_eq!(held(), 2);
    assert!(first.live().order(EndReason::Rebalance));
    assert_eq!(
        (held(), server.websockets()),
        (1, 2),
        "its closing handshake is under way"
    );
    let ended = Arc::clone(first.live());
    drop(first);
    assert_eq!((held(), server.websockets()), (1, 1));
    assert!(!ended.order(EndReason::Killed), "it is over");
    drop(second);
    assert_eq!((held(), server.websockets()), (0, 0));
}

/// A route that sessions can be said to have come by.
fn route(metrics: &Metrics) -> Arc<Route> {
    let text = "[listener.a]\nbind = '127.0.0.1:0'\n[[route]]\nrespond = 404\n";
    let config = config::parse(text, "test.toml").unwrap();
    let settings = Arc::clone(&config.routes[0]);
    Arc::new(Route {
        figures: Arc::new(RouteFigures::new(&settings.name, metrics)),
        sessions: Arc::new(settings.websocket.session.clone()),
        upstream: None,
        auth: None,
        settings,
    })
}

#[test]
fn workers_that_compete_never_exceed_a_limit_and_lose_no_place() {
    const ROUNDS: usize = 50;
    let (servers, metrics) = servers();
    let upstream = upstream(&servers, 2, "max_handshakes = 2");
    let held: Arc<[AtomicU32; 2]> = Arc::default();
    let workers: Vec<_> = (0..4)
        .map(|seed| {
            let (upstream, held) = (Arc::clone(&upstream), Arc::clone(&held));
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let mut tasks = JoinSet::new();
                    for task in 0..8 {
                        let (upstream, held) = (Arc::clone(&upstream), Arc::clone(&held));
                        tasks.spawn(compete(upstream, held, seed * 8 + task, ROUNDS));
                    }
                    tasks.join_all().await;
                });
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    for place in 0..2 {
        assert_eq!(server(&upstream, place).load(), 0);
        assert_eq!(server(&upstream, place).handshakes(), 0);
    }
    assert_eq!(metrics.queue_length.with_label_values(&["u"]).get(), 0);
}

/// Gets a server so many times, now and then leaving the queue instead.
async fn compete(upstream: Arc<Upstream>, held: Arc<[AtomicU32; 2]>, seed: u64, rounds: usize) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let ids = [0, 1].map(|place| server(&upstream, place).id);
    for _ in 0..rounds {
        let mut request = request();
        let pick = match upstream.pick(&request, Instant::now()) {
            Ok(pick) => pick,
            Err(_) => {
                let waiting = upstream.wait(&mut request, Instant::now()).unwrap();
                if rng.u8(..4) == 0 {
                    tokio::task::yield_now().await;
                    drop(waiting);
                    continue;
                }
                let turn = tokio::time::timeout(Duration::from_secs(20), waiting.turn());
                turn.await.expect("no wake-up is lost").unwrap()
            }
        };
        let place = usize::from(pick.ticket.server().id == ids[1]);
        assert!(held[place].fetch_add(1, SeqCst) < 2, "three at once");
        tokio::task::yield_now().await;
        held[place].fetch_sub(1, SeqCst);
    }
}

proptest! {
    #[test]
    fn any_schedule_is_fair_keeps_the_limits_wastes_no_place_and_gives_all_back(
        steps in prop::collection::vec((0u8..6, any::<prop::sample::Index>()), 1..120),
    ) {
        let (servers, metrics) = servers();
        let capped = |port| format!("{{ address = '127.0.0.1:{port}', max_connections = 5 }}");
        let list = format!("{}, {}", capped(1), capped(2));
        let upstream = with_servers(&servers, &list, "max_handshakes = 2");
        let (mut lines, mut shaking, mut connected) = (vec![], vec![], vec![]);
        let (mut arrived, mut last_served) = (0, 0);
        for (step, which) in steps {
            match step {
                0..3 => {
                    arrived += 1;
                    match upstream.pick(&request(), Instant::now()) {
                        Ok(pick) => {
                            prop_assert!(lines.is_empty(), "overtaken");
                            shaking.push(pick);
                        }
                        Err(_) => lines.push((arrived, Line::join(&upstream, &mut request()))),
                    }
                }
                3 if !lines.is_empty() => drop(lines.remove(which.index(lines.len()))),
                4 if !shaking.is_empty() => {
                    let pick: Pick = shaking.swap_remove(which.index(shaking.len()));
                    connected.push(pick.ticket);
                }
                5 if !connected.is_empty() => {
                    connected.swap_remove(which.index(connected.len()));
                }
                _ => {}
            }
            lines.retain_mut(|(number, line)| match line.look() {
                None => true,
                Some(outcome) => {
                    assert!(last_served < *number, "out of order");
                    last_served = *number;
                    shaking.push(outcome.unwrap());
                    false
                }
            });
            for member in upstream.members().iter() {
                let (load, handshakes) = (member.server.load(), member.server.handshakes());
                prop_assert!(load <= 5 && handshakes <= 2, "{} {}", load, handshakes);
                prop_assert!(lines.is_empty() || load == 5 || handshakes == 2, "a place is wasted");
            }
        }
        drop((lines, shaking, connected));
        for member in upstream.members().iter() {
            prop_assert_eq!((member.server.load(), member.server.handshakes()), (0, 0));
        }
        prop_assert_eq!(metrics.queue_length.with_label_values(&["u"]).get(), 0);
    }
}
