//! The command line: what it prints, where, and with which exit code (CONTRACT section 1).

use std::fs;
use std::process::{Command, Output};

use crate::support::proxy::tidegate;
use crate::support::{Backend, Setup};

fn check(toml: &str, arguments: &[&str]) -> (Output, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("edge.toml");
    fs::write(&file, toml).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let arguments: Vec<&str> = arguments
        .iter()
        .map(|&word| if word == "FILE" { file.as_str() } else { word })
        .collect();
    (tidegate(&arguments), file)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_good_configuration_is_ok() {
    let toml = Setup::to(&["127.0.0.1:8080"]).toml();
    for arguments in [&["check", "-c", "FILE"][..], &["-t", "-c", "FILE"]] {
        let (output, file) = check(&toml, arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), format!("{file}: ok\n"));
    }
}

#[test]
fn every_error_is_told_at_once_with_place_key_value_and_the_way_out() {
    let toml = Setup::to(&["127.0.0.1:8080"])
        .with("server", "wrokers = 2")
        .with("listener.public", "max_headers = \"many\"")
        .toml();
    let (output, file) = check(&toml, &["check", "-c", "FILE"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let errors = text(&output.stderr);
    let lines: Vec<&str> = errors
        .lines()
        .filter(|line| line.starts_with(&file))
        .collect();
    assert_eq!(lines.len(), 2, "{errors}");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("wrokers") && line.contains("workers"))
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("max_headers") && line.contains("many"))
    );
    for line in lines {
        let place: Vec<&str> = line[file.len() + 1..].splitn(3, ':').collect();
        assert!(
            place[0].parse::<u32>().is_ok() && place[1].parse::<u32>().is_ok(),
            "{line}"
        );
    }
}

#[test]
fn dump_prints_a_configuration_that_is_good_again() {
    let toml = Setup::to(&["127.0.0.1:8080"])
        .with("upstream.echo", "retries = 7")
        .toml();
    let (output, _) = check(&toml, &["check", "--dump", "-c", "FILE"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let dump = text(&output.stdout);
    assert!(dump.contains("retries = 7"), "{dump}");
    assert!(
        dump.contains("connect_timeout = \"3s\""),
        "defaults are filled in: {dump}"
    );
    let (again, _) = check(&dump, &["check", "-c", "FILE"]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
}

#[test]
fn the_schema_is_json() {
    let output = tidegate(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["properties"]["listener"].is_object());
}

#[test]
fn wrong_arguments_are_exit_code_2() {
    for arguments in [
        &["frobnicate"][..],
        &["check", "--frob"],
        &["run", "-c"],
        &["bench", "http://127.0.0.1:1/"],
        &["bench", "ws://127.0.0.1:99999/"],
        &[],
    ] {
        let output = tidegate(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_weight_of_0_is_told_what_it_means_here() {
    let output = tidegate(&["server", "chat/10.0.0.1:8080", "weight", "0"]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("from 1 to 65535; \"drain\" takes"), "{told}");
}

#[test]
fn help_and_version_go_to_standard_output() {
    for arguments in [["--help"], ["--version"]] {
        let output = tidegate(&arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("tidegate"));
    }
    assert!(text(&tidegate(&["--version"]).stdout).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn run_refuses_a_bad_configuration() {
    let (output, _) = check("[listener", &["run", "-c", "FILE"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stderr.is_empty());
    let missing = tidegate(&["run", "-c", "/nowhere/tidegate.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("/nowhere/tidegate.toml"));
}

#[test]
fn run_says_which_address_is_taken() {
    let taken = Backend::silent();
    let setup =
        Setup::to(&["127.0.0.1:8080"]).with("listener.public", &format!("bind = \"{taken}\""));
    let (output, _) = check(&setup.toml(), &["run", "-c", "FILE"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains(&taken.to_string()),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_key_of_a_later_version_is_refused_by_name() {
    let toml = Setup::to(&["127.0.0.1:8080"]).with("upstream.echo", "balance = \"random_two\"");
    let (output, _) = check(&toml.toml(), &["check", "-c", "FILE"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("not available in this version"), "{errors}");
}

/// Every subcommand that `--help` names.
fn commands() -> Vec<String> {
    let help = text(&tidegate(&["--help"]).stdout);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let names = list.lines().take_while(|line| !line.is_empty());
    let names = names.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn bash_completes_commands_and_options() {
    let script = text(&tidegate(&["completions", "bash"]).stdout);
    let complete = |words: &[&str]| {
        let (last, at) = (words[words.len() - 1], words.len() - 1);
        let ask = format!(
            "{script}\nCOMP_WORDS=({}); COMP_CWORD={at}; _tidegate tidegate {last}\n\
             echo \"${{COMPREPLY[@]}}\"",
            words.join(" ")
        );
        let output = Command::new("bash").args(["-c", &ask]).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(complete(&["tidegate", "re"]), "reload rebalance");
    assert_eq!(complete(&["tidegate", "reload", "--dr"]), "--dry-run");
    assert_eq!(complete(&["tidegate", "server", "u/a", "dr"]), "drain");
}

#[test]
fn zsh_and_fish_know_every_command() {
    for shell in ["zsh", "fish"] {
        let output = tidegate(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        let script = text(&output.stdout);
        for command in commands() {
            assert!(script.contains(&command), "{shell} lacks {command}");
        }
    }
    assert_eq!(tidegate(&["completions", "cmd"]).status.code(), Some(2));
}

#[test]
fn every_command_has_its_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let output = tidegate(&["man", directory.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mut expected: Vec<String> = commands()
        .iter()
        .map(|command| format!("tidegate-{command}.1"))
        .chain(["tidegate.1".to_owned()])
        .collect();
    expected.sort();
    let pages = fs::read_dir(directory.path()).unwrap();
    let mut pages: Vec<_> = pages
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    assert_eq!(pages, expected);
    let page = text(&tidegate(&["man"]).stdout);
    assert!(page.contains(".TH tidegate 1"), "{page}");
    let nowhere = tidegate(&["man", "/nowhere/man"]);
    assert_eq!(nowhere.status.code(), Some(1));
}

#[test]
fn a_place_that_is_none_is_exit_code_2() {
    for place in ["https://127.0.0.1", "/run/admin.sock", ""] {
        let output = tidegate(&["status", "--admin", place]);
        assert_eq!(output.status.code(), Some(2), "{place:?}");
        assert!(text(&output.stderr).contains("not a place"), "{place:?}");
    }
}

#[test]
fn an_instance_that_says_nothing_is_given_up() {
    let silent = Backend::silent();
    let admin = format!("http://{silent}");
    for command in [
        &["status"][..],
        &["server", "u/a", "ready"],
        &["connections", "--kill", "1"],
        &["rebalance", "u", "--within", "100ms"],
    ] {
        let patience = ["--admin", &admin, "--timeout", "100ms"];
        let output = tidegate(&[command, &patience].concat());
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let errors = text(&output.stderr);
        assert!(
            errors.contains(&format!(
                "no instance answers at {admin}: connected, and nothing came"
            )),
            "{errors}"
        );
    }
}
