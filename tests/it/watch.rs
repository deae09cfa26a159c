//! `server.watch`: a file that changes is a reload, however it changes (ATTACKS K05).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use crate::support::certificates::Authority;
use crate::support::proxy::Reload;
use crate::support::wait::{stays_true, wait_until};
use crate::support::{Echo, Setup, Tidegate};

fn watching(echo: &Echo) -> Setup {
    Setup::to(&[echo])
        .with("server", "watch = true")
        .with("upstream.echo", "on_server_removed = \"keep\"")
}

#[track_caller]
fn wait_for_server(proxy: &Tidegate, echo: &Echo) {
    wait_until("the new server", || {
        proxy.websocket("/").server() == echo.to_string()
    });
}

#[test]
fn a_file_written_in_place_is_seen() {
    let [old, new] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&watching(&old));
    fs::write(
        proxy.directory().join("tidegate.toml"),
        watching(&new).toml(),
    )
    .unwrap();
    wait_for_server(&proxy, &new);
}

#[test]
fn a_file_renamed_into_place_is_seen_again_and_again() {
    let servers = Echo::start_many::<4>();
    let proxy = Tidegate::start(&watching(&servers[0]));
    for server in &servers[1..] {
        // As editors save: a new file, renamed over the old one.
        proxy.rewrite(&watching(server).toml());
        wait_for_server(&proxy, server);
    }
}

#[test]
fn an_editor_that_moves_the_old_file_away_first_is_followed() {
    let servers = Echo::start_many::<3>();
    let proxy = Tidegate::start(&watching(&servers[0]));
    let path = proxy.directory().join("tidegate.toml");
    for server in &servers[1..] {
        fs::rename(&path, proxy.directory().join("tidegate.toml~")).unwrap();
        fs::write(&path, watching(server).toml()).unwrap();
        wait_for_server(&proxy, server);
    }
}

/// Puts a volume's next generation in force as Kubernetes does: a new directory, and one rename
/// of the link `..data`.
fn publish(volume: &Path, generation: &str, toml: &str) {
    let directory = volume.join(generation);
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("tidegate.toml"), toml).unwrap();
    symlink(generation, volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
}

#[test]
fn a_kubernetes_volume_that_swaps_its_link_is_followed() {
    let servers = Echo::start_many::<3>();
    let volume = tempfile::tempdir().unwrap();
    publish(volume.path(), "..2026_01", &watching(&servers[0]).toml());
    symlink("..data/tidegate.toml", volume.path().join("tidegate.toml")).unwrap();
    let proxy = Tidegate::start_in(volume.path());
    publish(volume.path(), "..2026_02", &watching(&servers[1]).toml());
    fs::remove_dir_all(volume.path().join("..2026_01")).unwrap();
    wait_for_server(&proxy, &servers[1]);
    publish(volume.path(), "..2026_03", &watching(&servers[2]).toml());
    wait_for_server(&proxy, &servers[2]);
}

#[test]
fn a_certificate_that_is_renewed_is_taken_up() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let old = authority.issue_as("site", &["a.example"]);
    let tls = format!("certificates = [{}]", old.toml());
    let proxy = Tidegate::start(&watching(&echo).with("listener.public.tls", &tls));
    let new = authority.issue_as("site", &["a.example"]);
    wait_until("the new certificate", || {
        let mut connection = proxy.connect_tls("a.example", &authority.client());
        connection.tls().peer_certificates().unwrap()[0].to_vec() == new.der
    });
}

#[test]
fn a_bad_file_is_refused_and_the_next_good_one_taken() {
    let [old, new] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&watching(&old));
    let mark = proxy.log().mark();
    proxy.rewrite("nonsense");
    assert_eq!(proxy.reloaded_since(mark), Reload::Refused);
    assert_eq!(proxy.websocket("/").server(), old.to_string());
    proxy.rewrite(&watching(&new).toml());
    wait_for_server(&proxy, &new);
}

#[test]
fn one_change_is_one_reload() {
    let [old, new] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&watching(&old));
    proxy.rewrite(&watching(&new).toml());
    wait_for_server(&proxy, &new);
    stays_true(Duration::from_secs(1), "one reload", || {
        (proxy.metrics().sum("tidegate_reloads_total", &[]) - 1.0).abs() < 0.5
    });
}

#[test]
fn without_watch_a_change_waits_for_its_signal() {
    let [old, new] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&Setup::to(&[&old]));
    proxy.rewrite(&Setup::to(&[&new]).toml());
    stays_true(Duration::from_millis(500), "the old server", || {
        proxy.websocket("/").server() == old.to_string()
    });
    assert_eq!(proxy.reload(), Reload::Done);
    assert_eq!(proxy.websocket("/").server(), new.to_string());
}
