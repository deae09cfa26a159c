//! Configuration files: the good ones load, the bad ones say why, the page lists every key.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate::config;

use crate::support::expect_text;

#[test]
fn every_bad_file_is_told_with_place_and_way_out() {
    for path in files("tests/config/bad", "toml") {
        let errors = match config::load(&path) {
            Ok(_) => panic!("{} is good", path.display()),
            Err(errors) => errors.to_string() + "\n",
        };
        expect_text(&path.with_extension("stderr"), &errors);
    }
}

#[test]
fn every_good_file_loads_and_its_dump_loads_equal() {
    for path in files("tests/config/ok", "toml") {
        let config = load(&path);
        let dump = config::dump(&config);
        match config::parse(&dump, "dump.toml") {
            Ok(again) => assert_eq!(again, config, "{}\n{dump}", path.display()),
            Err(errors) => panic!("{}: {errors}\n{dump}", path.display()),
        }
    }
}

#[test]
fn every_example_loads() {
    for path in files("conf", "toml") {
        load(&path);
    }
}

#[test]
fn every_example_of_the_pages_loads() {
    for path in files("docs", "md") {
        let page = read(&path);
        let examples = page.split("```toml\n").skip(1);
        for text in examples.filter_map(|text| text.split("```").next()) {
            if let Err(errors) = loads_somehow(text, &path) {
                panic!("{errors}\n{text}");
            }
        }
    }
}

/// A part of a configuration loads together with what it leaves out.
fn loads_somehow(text: &str, path: &Path) -> Result<(), config::Errors> {
    const LISTENER: &str = "[listener.other]\nbind = \"127.0.0.1:0\"\n";
    const ROUTE: &str = "[[route]]\nname = \"other\"\nupstream = \"chat\"\n";
    const UPSTREAM: &str = "[upstream.chat]\nservers = [\"127.0.0.1:1\"]\n";
    let name = path.display().to_string();
    let rests = [
        String::new(),
        [LISTENER].concat(),
        [ROUTE, UPSTREAM].concat(),
        [LISTENER, ROUTE].concat(),
        [LISTENER, UPSTREAM].concat(),
        [LISTENER, ROUTE, UPSTREAM].concat(),
    ];
    let mut outcomes = rests.iter().map(|rest| {
        let text = format!("{text}\n{rest}");
        config::parse(&text, &name).map(drop)
    });
    outcomes.find(Result::is_ok).unwrap_or_else(|| {
        // Alone it shows what is wrong with itself.
        config::parse(text, &name).map(drop)
    })
}

#[test]
fn the_page_lists_every_key() {
    const BEGIN: &str = "<!-- keys: begin -->\n";
    const END: &str = "<!-- keys: end -->\n";
    let page = read("docs/configuration.md");
    let (before, rest) = page.split_once(BEGIN).expect("the page marks its tables");
    let (_, after) = rest
        .split_once(END)
        .expect("the page marks the end of its tables");
    let expected = format!("{before}{BEGIN}{}\n{END}{after}", config::tables());
    expect_text(Path::new("docs/configuration.md"), &expected);
}

#[test]
fn a_dump_shows_no_secret() {
    let text = r#"
        [listener.public]
        bind = "127.0.0.1:0"
        [[route]]
        respond = 404
        [route.headers]
        set = { X-Path = "${PATH}", Authorization = "Bearer hunter2", X-App = "chat" }
    "#;
    let config = config::parse(text, "secret.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let dump = config::dump(&config);
    assert!(
        dump.contains(r#"X-Path = "${PATH}", Authorization = "***", X-App = "chat""#),
        "{dump}"
    );
    for shown in [dump, format!("{config:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused() {
    for path in ["/dev/zero", "tests", "/nonexistent/tidegate.toml"] {
        let errors = config::load(Path::new(path)).expect_err(path).to_string();
        assert!(errors.starts_with(&format!("{path}: ")), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 30).unwrap();
    let errors = config::load(file.path())
        .expect_err("it is 1 GiB")
        .to_string();
    assert!(errors.ends_with("is larger than 16 MiB"), "{errors}");
}

#[test]
fn a_hundred_thousand_routes_load_in_time() {
    let routes = (0..100_000).map(|i| {
        format!("[[route]]\nname = \"r{i}\"\npath = \"/p{i}\"\nupstream = \"u\"\nwebsocket = {{ max_frame = \"1m\" }}\n")
    });
    let head =
        "[listener.public]\nbind = \"127.0.0.1:0\"\n[upstream.u]\nservers = \"127.0.0.1:1\"\n";
    let text = head.to_owned() + &routes.collect::<String>();
    let begin = std::time::Instant::now();
    let config = config::parse(&text, "large.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.routes.len(), 100_000);
    // It takes 1.6 s without optimisation; a square cost would take minutes, a slow day does not.
    assert!(begin.elapsed().as_secs() < 60, "{:?}", begin.elapsed());
}

#[test]
fn a_schema_names_every_top_level_table() {
    let schema = config::schema();
    let keys: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "admin", "defaults", "include", "listener", "log", "route", "server", "tracing",
            "upstream"
        ]
    );
}

fn load(path: &Path) -> config::Config {
    config::load(path).unwrap_or_else(|errors| panic!("{errors}"))
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{directory}: {error}"))
        .map(|entry| entry.expect("the directory can be listed").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{directory} has no .{extension}");
    files
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref())
        .unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}
