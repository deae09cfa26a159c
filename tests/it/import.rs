//! Other proxies' configurations: a corpus of each kind becomes what stands beside it, and that
//! passes `check`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use crate::support::certificates::Authority;
use crate::support::expect_text;
use crate::support::peers::root;
use crate::support::proxy::tidegate;

/// Where the corpus has its certificates.
const CERTIFICATES: &str = "/etc/tidegate-test";

#[test]
fn every_nginx_configuration_of_the_corpus_becomes_the_one_beside_it() {
    assert!(becomes("nginx", "conf") >= 30);
}

#[test]
fn every_haproxy_configuration_of_the_corpus_becomes_the_one_beside_it() {
    assert!(becomes("haproxy", "cfg") >= 30);
}

#[test]
fn every_result_passes_check() {
    for (dialect, extension) in [("nginx", "conf"), ("haproxy", "cfg")] {
        let directory = with_certificates(dialect);
        for path in files(directory.path(), extension) {
            let result = directory.path().join("tidegate.toml");
            fs::write(&result, import(dialect, &path, &["--lenient"]).stdout).unwrap();
            let check = tidegate(&["check", "-c", result.to_str().unwrap()]);
            assert!(
                check.status.success(),
                "{}:\n{}",
                path.display(),
                String::from_utf8_lossy(&check.stderr)
            );
        }
    }
}

#[test]
fn what_could_not_be_carried_over_is_exit_code_1_unless_lenient() {
    let lossy = root().join("tests/import/nginx/static-beside.conf");
    let whole = root().join("tests/import/nginx/websocket-guide.conf");
    assert_eq!(import("nginx", &lossy, &[]).status.code(), Some(1));
    assert_eq!(
        import("nginx", &lossy, &["--lenient"]).status.code(),
        Some(0)
    );
    assert_eq!(import("nginx", &whole, &[]).status.code(), Some(0));
}

#[test]
fn a_file_that_is_not_there_is_said_to_be_so() {
    let output = import("nginx", Path::new("/nowhere/nginx.conf"), &[]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("can't be read: No such file"), "{told}");
}

#[test]
fn a_file_of_no_dialect_is_told_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    for (dialect, text, told) in [
        ("nginx", "http {\n  server {\n", "x:"),
        ("nginx", &"a{".repeat(100_000), "x: blocks stand too deep"),
        (
            "haproxy",
            "bind :80\n",
            "x:1: `bind` stands outside of any section",
        ),
        (
            "haproxy",
            "frontend a\n  bind \":80\n",
            "x:2: a quote does not end",
        ),
    ] {
        let path = directory.path().join("x");
        fs::write(&path, text).unwrap();
        let output = import(dialect, &path, &[]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(told), "{error}");
        assert!(output.stdout.is_empty());
    }
    let missing = directory.path().join("missing");
    assert_eq!(import("nginx", &missing, &[]).status.code(), Some(1));
    assert_eq!(
        import("haproxy", directory.path(), &[]).status.code(),
        Some(1)
    );
    assert_eq!(tidegate(&["import", "apache", "x"]).status.code(), Some(2));
}

#[test]
fn a_server_without_an_address_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    fs::write(
        &path,
        "upstream u {\n  server;\n}\nserver { location / { proxy_pass http://u; } }\n",
    )
    .unwrap();
    let output = import("nginx", &path, &[]);
    let findings = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        findings.contains("x:2: server: not carried over"),
        "{findings}"
    );
}

/// Compares every file's result and findings with those beside it; says how many there were.
fn becomes(dialect: &str, extension: &str) -> usize {
    let directory = root().join("tests/import").join(dialect);
    let files = files(&directory, extension);
    for path in &files {
        // By its bare name, as comments and findings show it.
        let output = import(dialect, path, &["--lenient"]);
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            text.replace(&format!("{}/", directory.display()), "")
        };
        expect_text(&path.with_extension("toml"), &text(&output.stdout));
        expect_text(&path.with_extension("findings"), &text(&output.stderr));
    }
    files.len()
}

fn import(dialect: &str, file: &Path, more: &[&str]) -> Output {
    let mut arguments = vec!["import", dialect, file.to_str().unwrap()];
    arguments.extend(more);
    tidegate(&arguments)
}

/// The corpus in a directory of its own, with every certificate that it names.
fn with_certificates(dialect: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let place = copy.path().to_str().unwrap();
    let corpus = root().join("tests/import").join(dialect);
    let mut named = BTreeSet::new();
    for directory in ["", "parts"] {
        let Ok(entries) = fs::read_dir(corpus.join(directory)) else {
            continue;
        };
        fs::create_dir_all(copy.path().join(directory)).unwrap();
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_file() {
                let text = fs::read_to_string(&path).unwrap();
                let names = text.split(CERTIFICATES).skip(1).map(|rest| {
                    let end = |c: char| !(c.is_ascii_alphanumeric() || "/.-_".contains(c));
                    rest.split(end)
                        .next()
                        .unwrap()
                        .trim_start_matches('/')
                        .to_owned()
                });
                named.extend(names.filter(|name| !name.ends_with(".conf")));
                let target = copy.path().join(directory).join(path.file_name().unwrap());
                fs::write(target, text.replace(CERTIFICATES, place)).unwrap();
            }
        }
    }
    let authority = Authority::new();
    for name in named {
        let (stem, kind) = name.rsplit_once('.').unwrap();
        let pair = authority.issue(&[&format!("{stem}.example.com")]);
        let (cert, key) = (fs::read(pair.cert).unwrap(), fs::read(pair.key).unwrap());
        let target = |kind: &str| copy.path().join(format!("{stem}.{kind}"));
        match (stem, kind) {
            ("ca", _) => drop(fs::copy(authority.file(), target(kind)).unwrap()),
            (_, "pem") => fs::write(target("pem"), [cert, key].concat()).unwrap(),
            (_, "crt") => {
                fs::write(target("crt"), cert).unwrap();
                fs::write(target("key"), key).unwrap();
            }
            _ => {}
        }
    }
    copy
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}
