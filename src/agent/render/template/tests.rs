//! What templates can do, and how they fail.

use crate::agent::reason::Reason;
use crate::agent::render::testing::{Vault, map, template, text};
use crate::agent::render::{RenderError, TemplateFault};
use crate::secret::{SecretBytes, SecretValue};

fn db() -> Vault {
    Vault::of([
        (
            "db",
            SecretValue::from_json(
                br#"{"user": "ada", "password": "p@ss/w\"ord", "port": 5432, "ratio": 1.10, "on": true,
                    "null": null, "a.b": "dotted", "deep": {"x": {"y": "z"}, "n": null},
                    "hosts": ["one\n", "two"], "mixed": [1, "x", null], "b64": "aGk="}"#,
            )
            .unwrap(),
        ),
        ("tls", SecretValue::Text(SecretBytes::copy_of(b"whole"))),
        ("more", map([("blob", text(b"\xff\x00"))])),
    ])
}

fn show(source: &str) -> Result<String, RenderError> {
    db().show(template(source))
}

#[test]
fn values_come_out_as_they_are() {
    for (source, output) in [
        (
            "url = postgres://{{ db.user }}:{{ db.password | urlencode }}@db\n",
            "url = postgres://ada:p%40ss/w%22ord@db\n",
        ),
        ("{{ db.password }}", "p@ss/w\"ord"),
        ("{{ db.port }} {{ db.ratio }} {{ db.on }}", "5432 1.10 true"),
        ("{{ db['a.b'] }} {{ db.deep.x.y }} {{ tls }}", "dotted z whole"),
        ("{{ db.hosts }}", "one\ntwo"),
        ("{{ db.mixed }} {{ db.deep }}", "[1,\"x\",null] {\"n\":null,\"x\":{\"y\":\"z\"}}"),
        ("{% for host in db.hosts %}[{{ host | trim }}]{% endfor %}", "[one][two]"),
        (
            "{% for name, value in db.deep | items %}{{ name }}={{ value }};{% endfor %}",
            "x={\"y\":\"z\"};",
        ),
        (
            "{{ db.user | b64encode }} {{ db.b64 | b64decode }} {{ more.blob | b64encode }}",
            "YWRh hi /wA=",
        ),
        ("{{ (db.user ~ ':' ~ db.port) | b64encode }}", "YWRhOjU0MzI="),
        (
            "{{ db.password | tojson }} {{ db.ratio | tojson }} {{ db.mixed | tojson }}",
            "\"p@ss/w\\\"ord\" 1.10 [1,\"x\",null]",
        ),
        ("{{ db.nope | default('x') }}{{ db.null | default('y') }}", "xy"),
        ("{% if db.null is defined %}a{% else %}b{% endif %}", "b"),
        ("{% if db.port > 1000 %}high{% endif %}", "high"),
        (
            "{{ {'a': db.user, 'b': [db.on, db.ratio]} | tojson }}",
            "{\"a\":\"ada\",\"b\":[true,1.10]}",
        ),
        ("{{ [db.user, db.port] | join(',') }}", "ada,5432"),
        ("  {{ 'a\nb\n\nc\n' | indent(2) }}", "  a\n  b\n\n  c\n"),
        ("{{ 'a' | indent(width=1, first=true) }}", " a"),
        ("<{{ '<&>' }}>\r\n\n", "<<&>>\r\n\n"),
    ] {
        assert_eq!(show(source).unwrap(), output, "{source}");
    }
}

#[test]
fn a_missing_field_is_an_error_that_names_it_and_the_line() {
    for (expression, field) in [
        ("{{ db.nope }}", "db.nope"),
        ("{{ db.null }}", "db.null"),
        ("{{ db['x.y'] }}", "db.x.y"),
        ("{{ db.deep.n }}", "db/deep/n"),
        ("{{ db.deep.q.r }}", "db/deep/q"),
        ("{{ 'a' ~ db.nope }}", "db.nope"),
        ("{{ db.nope | upper }}", "db.nope"),
        ("{{ db.nope | urlencode }}", "db.nope"),
        ("{{ db.nope | b64encode }}", "db.nope"),
        ("{{ db.nope | b64decode }}", "db.nope"),
        ("{{ db.nope | tojson }}", "db.nope"),
        ("{{ db.nope | string }}", "db.nope"),
        ("{{ db.user | replace('a', db.nope) }}", "db.nope"),
        ("{% if db.nope %}x{% endif %}", "db.nope"),
        ("{% for x in db.nope %}{% endfor %}", "db.nope"),
        ("{% set x = db.nope %}{{ x }}", "db.nope"),
        ("{{ db.null | default('ok') }}{{ db.nope }}", "db.nope"),
        ("{{ [db.nope] | join(',') }}", "db.nope"),
    ] {
        let source = format!("first\n{expression}");
        match show(&source) {
            Err(RenderError::FieldMissing { line, secret, field: found, .. }) => {
                assert_eq!(
                    (line, format!("{secret}{found}").as_str()),
                    (Some(2), field),
                    "{source}"
                );
            }
            other => panic!("{source}: {other:?}"),
        }
    }
}

#[test]
fn a_missing_secret_is_named() {
    let vault = Vault::db(r#"{"user": "ada"}"#);
    let error = vault.show(template("{{ db.user }}{{ more.x }}")).unwrap_err();
    assert!(
        matches!(error, RenderError::SecretMissing { secret, .. } if secret.as_str() == "more")
    );
    let fallback = vault.show(template("{% if more is defined %}x{% else %}none{% endif %}"));
    assert_eq!(fallback.unwrap(), "none");
}

#[test]
fn each_failure_has_its_kind_and_its_line() {
    for (expression, fault) in [
        ("{{ none }}", TemplateFault::None),
        ("{{ none | b64encode }}", TemplateFault::None),
        ("{{ undefined_name }}", TemplateFault::Undefined),
        ("{{ db.user.x }}", TemplateFault::Undefined),
        ("{{ db.user | nofilter }}", TemplateFault::Unknown),
        ("{{ nofunction() }}", TemplateFault::Unknown),
        ("{{ db.user.method() }}", TemplateFault::Unknown),
        ("{{ debug() }}", TemplateFault::Unknown),
        ("{{ db | pprint }}", TemplateFault::Unknown),
        ("{{ db.user + 1 }}", TemplateFault::Operation),
        ("{{ db.user | b64decode }}", TemplateFault::Operation),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}",
            TemplateFault::Fuel,
        ),
        (
            "{% set x = 'abcdefgh' * 100000 %}{% for i in range(1000) %}{{ x }}{% endfor %}",
            TemplateFault::TooLong,
        ),
        ("{{ range(99999) | join('abcdefgh' * 100000) }}", TemplateFault::Fuel),
        ("{{ 'a\\nb' | indent(999999999999) }}", TemplateFault::Fuel),
        (
            "{% set ns = namespace(x='abcdefgh') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
            TemplateFault::Fuel,
        ),
    ] {
        match show(&format!("first\n{expression}")) {
            Err(RenderError::Template { line, fault: found, .. }) => {
                // The engine does not say where it was when the output was full.
                let at = if found == TemplateFault::TooLong { 0 } else { 2 };
                assert_eq!((line, found), (at, fault), "{expression}");
            }
            other => panic!("{expression}: {other:?}"),
        }
    }
}

#[test]
fn nothing_reads_the_world_outside() {
    for source in [
        "{% include '/etc/passwd' %}",
        "{% import 'x' as x %}",
        "{{ include('x') }}",
        "{{ env('HOME') }}",
        "{{ file('/etc/passwd') }}",
        "{{ now() }}",
        "{{ lookup('file', '/etc/passwd') }}",
        "{{ self }}",
    ] {
        assert!(show(source).is_err(), "{source}");
    }
}

#[test]
fn bytes_that_are_not_text_are_refused_wherever_they_would_be_written() {
    for source in [
        "{{ more.blob }}",
        "{{ more.blob ~ 'x' }}",
        "{{ more.blob | upper }}",
        "{{ more.blob | tojson }}",
        "{{ more }}",
        "{{ more | tojson }}",
        "{% set x %}{{ more.blob }}{% endset %}",
        "{{ more.blob | urlencode }}",
    ] {
        match show(source) {
            Err(RenderError::TemplateBinary { secret, field, .. }) => {
                assert_eq!(format!("{secret}{field}"), "more.blob");
            }
            other => panic!("{source}: {other:?}"),
        }
    }
}

#[test]
fn no_error_shows_a_value() {
    let vault = Vault::db(r#"{"x": "cAnArY", "list": ["cAnArY"]}"#);
    for source in [
        "{{ db.x + 1 }}",
        "{{ db.x | int }}",
        "{{ db.x.y }}",
        "{{ db.x() }}",
        "{{ db[db.x] }}",
        "{{ [1] | map(db.x) }}",
        "{{ db.x | round }}",
        "{{ range(db.x) }}",
        "{{ db.x | b64decode }}",
        "{{ db.list | map(attribute='q') | join }}",
        "{{ {}[db.x] }}",
        "{{ 1 | select(db.x) | list }}",
        "{{ db.x | attr(db.x) }}",
        "{{ db.x[db.x] }}",
        "{{ -db.x }}",
    ] {
        let Err(error) = vault.show(template(source)) else { panic!("{source} works") };
        let shown = format!("{error:?} {}", error.report());
        assert!(!shown.to_lowercase().contains("canary"), "{source}: {shown}");
    }
}

#[test]
fn a_template_of_config_is_wrong_before_any_secret_is_seen() {
    let error = show("a\nb {{ db.user").unwrap_err();
    assert_eq!(error.reason(), Reason::ConfigInvalid);
    assert!(error.report().why.starts_with("line 2: "), "{}", error.report());
}

#[test]
fn no_filter_takes_a_missing_value_for_an_empty_one() {
    for filter in [
        "safe",
        "escape",
        "e",
        "lower",
        "upper",
        "title",
        "capitalize",
        "replace('a', 'b')",
        "length",
        "count",
        "dictsort",
        "items",
        "reverse",
        "trim",
        "join",
        "split",
        "lines",
        "round",
        "abs",
        "int",
        "float",
        "attr('x')",
        "first",
        "last",
        "min",
        "max",
        "sort",
        "list",
        "string",
        "bool",
        "batch(2)",
        "slice(2)",
        "indent(2)",
        "select",
        "reject",
        "selectattr('x')",
        "rejectattr('x')",
        "map('upper')",
        "map(attribute='x')",
        "groupby('x')",
        "unique",
        "format",
        "urlencode",
        "b64encode",
        "b64decode",
        "tojson",
    ] {
        for expression in [
            format!("db.nope | {filter}"),
            format!("db.nope | {filter} ~ 'x'"),
            format!("db.mixed[2] | {filter}"),
        ] {
            let result = show(&format!("{{{{ {expression} }}}}"));
            assert!(result.is_err(), "{expression}: {result:?}");
        }
    }
    for expression in [
        "[db.nope]",
        "[db.nope] | join",
        "[db.nope] | tojson",
        "{'a': db.nope}",
        "{'a': db.nope} | tojson",
        "db.mixed | join",
        "db.mixed[2]",
        "db.mixed[2] ~ 'x'",
        "[db] | map(attribute='nope') | join",
        "'%s' | format(db.nope)",
        "db.nope + 'x'",
        "db.nope * 3",
        "db.nope == 'x'",
        "'x' in db.nope",
        "db.nope or 'x'",
    ] {
        assert!(show(&format!("{{{{ {expression} }}}}")).is_err(), "{expression}");
    }
}
