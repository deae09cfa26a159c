//! The one table of keys: what each is called, takes, means, and whether it acts in this version.
//! The reader, the reference page, the schema, `check --dump` and the reload's list of changes all come from it.

mod listener;
mod route;
mod upstream;

use crate::config::defaults::{MAX_COUNT, MAX_TIME, MAX_WORKERS};
use crate::config::kind::address::Listen;
use crate::config::kind::number::{Count, Fraction, Positive, Time, ZeroIsNone};
use crate::config::kind::section::{Key, Section, Shape, Status, each_named};
use crate::config::kind::text::{CollectorUrl, FileName, LogTarget, is_name};
use crate::config::kind::{At, Flag, Kind, List, Maybe, Or, Word, Words, Written};
use crate::config::model::{Log, LogFormat, LogLevel, Server, Tracing};
use crate::config::raw::{AdminSection, Defaults, Named, Root};
use crate::config::reader::Reader;
use crate::config::tree::{Node, Value};

pub(super) use listener::LISTENER;
pub(super) use route::ROUTE;
pub(super) use upstream::UPSTREAM;

/// A key with a value of its own.
macro_rules! key {
    ($name:literal => $($field:ident).+, $kind:expr, $status:ident, $doc:literal) => {
        Key {
            name: $name,
            status: Status::$status,
            doc: $doc,
            shape: || Shape::of(&$kind),
            read: |section, node, reader| {
                if let Some(value) = ($kind).read(node, reader) {
                    section.$($field).+ = value;
                }
            },
            write: |section| ($kind).write(&section.$($field).+),
        }
    };
}

/// A table below a section.
macro_rules! table {
    ($name:literal => $field:ident, $section:expr, $status:ident, $doc:literal) => {
        Key {
            name: $name,
            status: Status::$status,
            doc: $doc,
            shape: || Shape::Table {
                rows: $section.rows(),
                off: false,
            },
            read: |section, node, reader| $section.read(&mut section.$field, node, reader),
            write: |section| Written::Table($section.write(&section.$field)),
        }
    };
}

/// A table below a section that may be absent.
macro_rules! optional {
    ($name:literal => $field:ident, $section:expr, $status:ident, $doc:literal) => {
        Key {
            name: $name,
            status: Status::$status,
            doc: $doc,
            shape: || Shape::Table {
                rows: $section.rows(),
                off: true,
            },
            read: |section, node, reader| {
                read_optional(&$section, &mut section.$field, node, reader)
            },
            write: |section| match &section.$field {
                None => Written::Nothing,
                Some(table) => Written::Table($section.write(table)),
            },
        }
    };
}

/// A section below `defaults`.
macro_rules! in_defaults {
    ($name:literal => $field:ident, $section:expr, $doc:literal) => {
        Key {
            name: $name,
            status: Status::Acts,
            doc: $doc,
            shape: || Shape::Table {
                rows: $section.inheritable(),
                off: false,
            },
            read: |defaults, node, reader| {
                reader.in_defaults = true;
                $section.read(&mut defaults.$field, node, reader);
                reader.in_defaults = false;
            },
            // Every section is written whole, so nothing is left to inherit.
            write: |_| Written::Nothing,
        }
    };
}

use {key, optional, table};

/// The whole file.
pub(super) static ROOT: Section<Root> = Section::new(&[
    Key {
        name: "include",
        status: Status::Acts,
        doc: "More files, with `*` and `?` in their names, relative to this one. What they say stands \
              before what this file says, so its own routes come last.",
        shape: || Shape::of(&List(FileName)),
        // The files are merged before anything is read.
        read: |_, _, _| {},
        write: |_| Written::Nothing,
    },
    table!("server" => server, SERVER, Acts, "The process."),
    table!("log" => log, LOG, Acts, "Logs, on standard error."),
    table!("admin" => admin, ADMIN, Acts, "Metrics, health and control over HTTP."),
    table!("tracing" => tracing, TRACING, Acts,
        "OpenTelemetry spans of handshakes and sessions."),
    table!("defaults" => defaults, DEFAULTS, Acts, "What every listener, route or upstream has unless it says otherwise."),
    Key {
        name: "listener",
        status: Status::Acts,
        doc: "Where clients come in.",
        shape: || Shape::Named(LISTENER.rows()),
        read: |root, node, reader| {
            let template = root.defaults.listener.clone();
            read_named(&LISTENER, &template, &mut root.listeners, node, reader);
        },
        write: |root| Written::Table(write_named(&LISTENER, &root.listeners)),
    },
    Key {
        name: "route",
        status: Status::Acts,
        doc: "Which requests go where; the first match in file order counts.",
        shape: || Shape::Tables(ROUTE.rows()),
        read: route::read_routes,
        write: |root| {
            let routes = root.routes.iter();
            Written::Tables(
                routes
                    .map(|route| Written::Table(ROUTE.write(route)))
                    .collect(),
            )
        },
    },
    Key {
        name: "upstream",
        status: Status::Acts,
        doc: "A named set of servers.",
        shape: || Shape::Named(UPSTREAM.rows()),
        read: |root, node, reader| {
            let template = root.defaults.upstream.clone();
            read_named(&UPSTREAM, &template, &mut root.upstreams, node, reader);
        },
        write: |root| Written::Table(write_named(&UPSTREAM, &root.upstreams)),
    },
]);

/// Reads a whole tree, `defaults` first.
pub(super) fn read(mut node: Node, reader: &mut Reader) -> Root {
    let mut root = Root::default();
    if let Value::Table(table) = &mut node.value {
        table.entries.sort_by_key(|entry| entry.name != "defaults");
    }
    ROOT.read(&mut root, &node, reader);
    root
}

pub(super) static SERVER: Section<Server> = Section::new(&[
    key!("workers" => workers, Or("auto", Positive(MAX_WORKERS)), Restart,
        "Worker threads; `\"auto\"` is one per core that this process may use."),
    key!("shutdown_grace" => shutdown_grace, Time(std::time::Duration::ZERO, MAX_TIME), Acts,
        "How long a stop may take before what is left is cut."),
    key!("upgrade_drain" => upgrade_drain, Or("off", Time(std::time::Duration::ZERO, MAX_TIME)), Acts,
        "Over how long the replaced process ends its sessions after an upgrade in place; `\"off\"` leaves them to end by themselves."),
    key!("watch" => watch, Flag, Acts,
        "Reload when a configuration file or a certificate changes."),
    key!("max_connections" => max_connections, ZeroIsNone(MAX_COUNT), Acts,
        "Most client connections; beyond it new ones hear 503, or are closed where they would speak TLS. 0 is what the \
         file-descriptor limit allows; beyond that they wait."),
    key!("max_tls_handshakes" => max_tls_handshakes, Count(1, MAX_COUNT), Acts,
        "Most TLS handshakes with clients at a time; beyond it the oldest gives way if it took a second, else new connections are closed."),
]);

pub(super) static LOG: Section<Log> = Section::new(&[
    key!("level" => level, Words(&[
        ("error", Word::Is(LogLevel::Error)),
        ("warn", Word::Is(LogLevel::Warn)),
        ("info", Word::Is(LogLevel::Info)),
        ("debug", Word::Is(LogLevel::Debug)),
        ("trace", Word::Is(LogLevel::Trace)),
    ]), Acts, "Least severity that is written."),
    key!("format" => format, Words(&[
        ("text", Word::Is(LogFormat::Text)),
        ("json", Word::Is(LogFormat::Json)),
    ]), Restart, "For people or for machines."),
    key!("access" => access, LogTarget, Acts, "Where the access log goes, as JSON lines."),
]);

pub(super) static ADMIN: Section<AdminSection> = Section::new(&[
    key!("bind" => bind, Or("off", At(Listen)), Restart,
        "Where metrics, health and control are served."),
    key!("token_file" => token_file, Maybe(FileName), Acts,
        "File with the bearer token of writing calls; compulsory where `bind` is not loopback."),
]);

pub(super) static TRACING: Section<Tracing> = Section::new(&[
    key!("otlp" => otlp, Or("off", CollectorUrl), Restart,
        "Where spans go, over OTLP/HTTP as JSON; `\"off\"` costs nothing."),
    key!("sample" => sample, Fraction, Restart,
        "How many upgrade requests are traced; one that a trusted peer marks as sampled always is."),
]);

static DEFAULTS: Section<Defaults> = Section::new(&[
    in_defaults!("listener" => listener, LISTENER, "As in `[listener.NAME]`."),
    in_defaults!("route" => route, ROUTE, "As in `[[route]]`."),
    in_defaults!("upstream" => upstream, UPSTREAM, "As in `[upstream.NAME]`."),
]);

fn read_named<S: Clone + Default>(
    section: &Section<S>,
    template: &S,
    into: &mut Vec<Named<S>>,
    node: &Node,
    reader: &mut Reader,
) {
    each_named(node, reader, |name, place, node, reader| {
        if !is_name(name) {
            reader.wrong_at(place, "not a name", "letters, digits, - _ .");
        }
        let mut value = template.clone();
        section.read(&mut value, node, reader);
        into.push(Named {
            name: name.into(),
            section: value,
        });
    });
}

fn write_named<S: Clone + Default>(
    section: &Section<S>,
    named: &[Named<S>],
) -> Vec<(String, Written)> {
    let write = |named: &Named<S>| {
        (
            named.name.to_string(),
            Written::Table(section.write(&named.section)),
        )
    };
    named.iter().map(write).collect()
}
