//! Documentation that is wrong is worse than none: names, tables, commands and examples are held
//! against the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidegate::control::admin::{ROUTES, Route};
use tidegate::telemetry::access;
use tidegate::telemetry::families::FAMILIES;

use crate::support::peers::root;
use crate::support::proxy::tidegate;

#[test]
fn every_test_that_a_page_names_exists() {
    let known = test_names();
    for (page, at_least) in [("docs/rfc6455.md", 20), ("docs/security.md", 50)] {
        let text = read(page);
        let named: Vec<&str> = quoted(&text).filter(|word| is_test_name(word)).collect();
        assert!(named.len() > at_least, "{page}: only {}", named.len());
        let missing: Vec<&&str> = named
            .iter()
            .filter(|name| !known.contains(name.rsplit("::").next().unwrap_or(name)))
            .collect();
        assert!(missing.is_empty(), "{page}: no such tests: {missing:#?}");
    }
}

#[test]
fn every_case_of_attacks_md_names_tests_that_exist_or_says_why_there_is_none() {
    let known = test_names();
    let text = read("docs/attacks.md");
    let is_case = |line: &&str| {
        let id = line.strip_prefix("| ").and_then(|line| line.get(..3));
        id.is_some_and(|id| id.ends_with(|c: char| c.is_ascii_digit()))
    };
    let cases: Vec<&str> = text.lines().filter(is_case).collect();
    let ids: BTreeSet<&str> = cases.iter().map(|case| &case[2..5]).collect();
    assert_eq!(ids.len(), cases.len(), "a case stands twice");
    assert!(ids.len() > 110, "the tables have only {} cases", ids.len());
    for case in cases {
        let (rest, shown) = case.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        if shown == "–" {
            assert!(rest.contains("| – ("), "no test and no reason: {case}");
            continue;
        }
        let named: Vec<&str> = quoted(shown).collect();
        assert!(!named.is_empty(), "no test: {case}");
        let missing: Vec<_> = named
            .iter()
            .filter(|name| !known.contains(**name))
            .collect();
        assert!(missing.is_empty(), "no such tests: {missing:#?}");
    }
}

#[test]
fn every_metric_of_the_code_has_its_row_and_every_row_its_metric() {
    let code: Vec<String> = FAMILIES
        .iter()
        .map(|family| {
            let labels: Vec<String> = family
                .labels
                .iter()
                .map(|label| format!("`{label}`"))
                .collect();
            let labels = labels.join(", ");
            format!(
                "| `{}` | {} | {labels} | {} |",
                family.name,
                family.kind.word(),
                family.help
            )
        })
        .collect();
    let text = read("docs/metrics.md");
    let documented: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `tidegate_"))
        .collect();
    assert_eq!(documented, code);
}

#[test]
fn every_admin_route_of_the_code_has_its_row_and_every_row_its_route() {
    let row = |route: &Route| format!("| {} | `{}` | {} |", route.method, route.path, route.what);
    let code: Vec<String> = ROUTES.iter().map(row).collect();
    let text = read("docs/admin-api.md");
    let is_row = |line: &&str| {
        let mut methods = ["| GET", "| POST", "| DELETE"].iter();
        methods.any(|method| line.starts_with(method))
    };
    let documented: Vec<&str> = text.lines().filter(is_row).collect();
    assert_eq!(documented, code);
}

#[test]
fn every_field_of_the_access_log_has_its_row_and_every_row_its_field() {
    let code: Vec<String> = access::FIELDS
        .iter()
        .map(|field| format!("| `{}` | {} |", field.name, field.meaning))
        .collect();
    let text = read("docs/access-log.md");
    let (_, table) = text.split_once("| field | meaning |\n|---|---|\n").unwrap();
    let documented: Vec<&str> = table.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(documented, code);
}

#[test]
fn the_access_log_page_lists_every_reason_of_a_refusal() {
    let source = read("src/logic/refusal.rs");
    let words = source
        .lines()
        .filter_map(|line| line.split_once("=> \"")?.1.strip_suffix("\","));
    let code: BTreeSet<&str> = words.chain(["backend_status", "client_gone"]).collect();
    let text = read("docs/access-log.md");
    let (_, table) = text.split_once("| reason | status | cause |\n").unwrap();
    let rows = table.lines().take_while(|line| !line.is_empty()).skip(1);
    let documented: BTreeSet<&str> = rows.filter_map(|row| quoted(row).next()).collect();
    assert_eq!(documented, code);
}

#[test]
fn the_metrics_page_lists_every_end_reason_with_its_codes() {
    use tidegate::logic::reason::{EndReason, Farewell};
    let say = |farewell| match farewell {
        Farewell::PassedOn => "passed on".to_owned(),
        Farewell::Cut => "–".to_owned(),
        Farewell::Close(code) => code.get().to_string(),
    };
    let text = read("docs/metrics.md");
    for reason in EndReason::ALL {
        let row = format!(
            "| `{reason}` | {} | {} |",
            say(reason.to_client()),
            say(reason.to_backend())
        );
        assert!(text.contains(&row), "docs/metrics.md lacks the row\n{row}");
    }
}

#[test]
fn every_configuration_under_conf_is_good() {
    let files = configurations(&root().join("conf"));
    assert!(!files.is_empty());
    for file in files {
        assert_good(&file);
    }
}

#[test]
fn every_configuration_in_the_readme_is_good() {
    let directory = tempfile::tempdir().unwrap();
    for (at, block) in blocks(&read("README.md"), "toml").enumerate() {
        let file = directory.path().join(format!("readme-{at}.toml"));
        fs::write(&file, block).unwrap();
        assert_good(&file);
    }
}

#[test]
fn the_readme_shows_the_files_it_names() {
    let readme = read("README.md");
    for (language, file) in [
        ("nginx", "conf/replace-nginx/nginx.conf"),
        ("toml", "conf/replace-nginx.toml"),
        ("haproxy", "conf/replace-haproxy/haproxy.cfg"),
        ("toml", "conf/replace-haproxy.toml"),
    ] {
        assert!(
            readme.contains(&format!("({file})")),
            "README.md does not name {file}"
        );
        let block = format!("```{language}\n{}```\n", read(file));
        assert!(readme.contains(&block), "README.md shows another {file}");
    }
}

#[test]
fn every_command_in_the_readme_exists() {
    let makefile = read("Makefile");
    let help = String::from_utf8(tidegate(&["--help"]).stdout).unwrap();
    let text = read("README.md");
    let lines: Vec<String> = blocks(&text, "sh").collect();
    let lines: Vec<&str> = lines.iter().flat_map(|block| block.lines()).collect();
    assert!(lines.contains(&"cargo run --release -- demo"), "{lines:?}");
    assert!(lines.contains(&"make test"), "{lines:?}");
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let known = match words.as_slice() {
            ["cargo", "run", "--release", "--", command, ..] | ["tidegate", command, ..] => help
                .lines()
                .any(|line| line.trim_start().starts_with(command)),
            ["make", target, ..] => makefile.contains(&format!("\n{target}:")),
            [program, ..] => root().join(program).exists() || ["curl", "kill"].contains(program),
            [] => true,
        };
        assert!(known, "README.md: no such command: {line}");
    }
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = page.parent().unwrap().join(target);
            assert!(path.exists(), "{}: {link} leads nowhere", page.display());
        }
    }
}

#[test]
fn the_architecture_page_names_every_folder_of_the_source() {
    let text = read("ARCHITECTURE.md");
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "lib.rs" {
            assert!(
                text.contains(&format!("`{name}")),
                "ARCHITECTURE.md does not name {name}"
            );
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Good, but for certificates and keys, which are the reader's own.
#[track_caller]
fn assert_good(file: &Path) {
    let output = tidegate(&["check", "-c", file.to_str().unwrap()]);
    let errors = String::from_utf8_lossy(&output.stderr);
    let bad: Vec<&str> = errors
        .lines()
        .filter(|line| !line.contains("No such file"))
        .collect();
    assert!(bad.is_empty(), "{}: {errors}", file.display());
}

/// Words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// `a_name_of_many_words`, perhaps behind its module's path.
fn is_test_name(word: &str) -> bool {
    let name = word.rsplit("::").next().unwrap_or(word);
    name.matches('_').count() >= 3
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The name of every function under `src/` and `tests/` that follows a `#[test]`, of whatever
/// runtime, alone and in `proptest!`.
fn test_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["src", "tests"] {
        let mut files = Vec::new();
        collect(&root().join(folder), "rs", &mut files);
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            for rest in text.split("test]").skip(1) {
                let name = rest
                    .split_once("fn ")
                    .and_then(|(_, rest)| rest.split('(').next());
                names.extend(name.map(str::to_owned));
            }
        }
    }
    names
}

fn configurations(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(directory, "toml", &mut files);
    files
}

fn pages() -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&root().join("docs"), "md", &mut files);
    let top = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files.extend(top.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    files
}

fn collect(directory: &Path, extension: &str, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() && !path.ends_with("node_modules") {
            collect(&path, extension, files);
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
}

/// The fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &'a str) -> impl Iterator<Item = String> + 'a {
    let fence = format!("```{language}\n");
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&fence)?;
        let (block, after) = after.split_once("```")?;
        rest = after;
        Some(block.to_owned())
    })
}
