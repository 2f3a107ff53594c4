//! What templates may do, what they make, and what they cannot cost.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod bounds;

use super::*;

const CANARY: &str = "c4n4ry-v4lu3";

/// The names that templates of these tests know; `OPTIONAL` has no value.
const NAMES: &[&str] = &["USER", "PASSWORD", "HOSTS", "with-dash.dot", "BINARY", "EMPTY", "OPTIONAL", "ctx", "NUL"];

fn value(name: &str) -> Option<SecretValue> {
    let bytes: &[u8] = match name {
        "USER" => b"app",
        "PASSWORD" => "p@ss/w:rd#1 ü'\"$\\\n".as_bytes(),
        "HOSTS" => b" one,two,three\n",
        "with-dash.dot" => b"odd",
        "BINARY" => b"\xff\xfe",
        "EMPTY" => b"",
        "ctx" => b"a secret called ctx",
        "NUL" => b"a\0b",
        _ => return None,
    };
    Some(SecretValue::new(bytes.to_vec()))
}

fn compile(text: &str) -> Result<Template, Fault> {
    let surroundings = Surroundings {
        stack: "plat-prod".to_owned(),
        component: "orders-db".to_owned(),
        namespace: "payments".to_owned(),
    };
    let index_of = |name: &str| NAMES.iter().position(|known| *known == name);
    Template::compile(text, &Arc::new(surroundings), &index_of, NAMES.iter().copied())
}

fn render(text: &str) -> Result<String, Failure> {
    let values: Vec<Option<SecretValue>> = NAMES.iter().map(|name| value(name)).collect();
    let template = compile(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    let rendered = template.render(|index| values[index].as_ref())?;
    Ok(String::from_utf8(rendered.expose().to_vec()).unwrap())
}

fn trouble(text: &str) -> Trouble {
    match render(text) {
        Err(failure) => failure.trouble,
        Ok(text) => panic!("rendered: {text}"),
    }
}

#[test]
fn values_take_their_places() {
    for (text, expected) in [
        ("plain", "plain"),
        ("{{ USER }}\n", "app\n"),
        ("{{ secrets[\"USER\"] }} {{ secrets.USER }} {{ secrets[\"with-dash.dot\"] }}", "app app odd"),
        ("{{ ctx.stack }}/{{ ctx.component }}/{{ ctx.namespace }}", "plat-prod/orders-db/payments"),
        ("{{ secrets[\"ctx\"] }}", "a secret called ctx"),
        ("{{ PASSWORD | urlencode }}", "p%40ss%2Fw%3Ard%231%20%C3%BC%27%22%24%5C%0A"),
        ("{{ 'a-b.c_d~e' | urlencode }}", "a-b.c_d~e"),
        ("{{ BINARY | b64encode }} {{ BINARY | urlencode }} {{ EMPTY | b64encode }}", "//4= %FF%FE "),
        ("{{ PASSWORD | tojson }}", "\"p@ss/w:rd#1 ü'\\\"$\\\\\\n\""),
        (
            "{{ {'user': USER, 'n': [1, true, none], 'm': {}} | tojson }}",
            "{\"m\": {}, \"n\": [1, true, null], \"user\": \"app\"}",
        ),
        ("{{ USER | toyaml }}", "\"app\""),
        ("{{ PASSWORD | trim | dotenv }}", "\"p@ss/w:rd#1 ü'\\\"\\$\\\\\""),
        ("{{ USER | dotenv }} {{ EMPTY | dotenv }} {{ 'a b' | dotenv }}", "app '' 'a b'"),
        ("{{ [USER, ':', 5432] | join }} {{ (USER, 'x') | join('-') }}", "app:5432 app-x"),
        (
            "{% for host in HOSTS | trim | split(',') %}{{ loop.index }}={{ host }}{% if not loop.last %};{% endif %}{% endfor %}",
            "1=one;2=two;3=three",
        ),
        (
            "{% for host in HOSTS | trim | split(',') if host != 'two' %}{{ host }} {% else %}none{% endfor %}",
            "one three ",
        ),
        ("{% if OPTIONAL is defined %}{{ OPTIONAL }}{% else %}none{% endif %}", "none"),
        ("{% if OPTIONAL is undefined and USER == 'app' %}yes{% elif EMPTY %}no{% endif %}", "yes"),
        ("{{ OPTIONAL | default('5432') }} {{ USER | default('x') }} {{ EMPTY | default('x') }}", "5432 app "),
        ("{{ USER if EMPTY == '' or EMPTY else 'x' }}", "app"),
        ("{% raw %}{{ USER }}{% endraw %}{# nothing #}", "{{ USER }}"),
        // A tag alone on its line leaves no line.
        ("a\n  {% if USER %}\nb\n  {% endif %}\nc\n", "a\nb\nc\n"),
        (
            "{{ dockerconfigjson('ghcr.io', USER, 'pw', 'docker.io', 'u', '\"') }}",
            "{\"auths\": {\"ghcr.io\": {\"username\": \"app\", \"password\": \"pw\", \"auth\": \"YXBwOnB3\"}, \
             \"docker.io\": {\"username\": \"u\", \"password\": \"\\\"\", \"auth\": \"dToi\"}}}",
        ),
    ] {
        assert_eq!(render(text), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn only_what_is_named_is_used() {
    let template = compile("{{ USER }}{% if OPTIONAL is defined %}{{ secrets['with-dash.dot'] }}{% endif %}").unwrap();
    let names: Vec<&str> = template.secrets().map(|index| NAMES[index]).collect();
    assert_eq!(names, ["OPTIONAL", "USER", "with-dash.dot"]);
    assert_eq!(compile("plain {{ ctx.stack }}").unwrap().secrets().count(), 0);
}

#[test]
fn what_is_not_allowed_is_refused_with_its_place() {
    let mut wrong: Vec<String> = Vec::new();
    for (text, at, words) in [
        ("{{ USER", (1, 1), "cannot be read"),
        ("a\n{{ USER }\n", (2, 1), "cannot be read"),
        ("{% if USER %}x", (1, 1), "cannot be read"),
        ("{% include 'x' %}", (1, 1), "cannot be read"),
        ("{% extends 'x' %}", (1, 1), "cannot be read"),
        ("{% import 'x' as y %}", (1, 1), "cannot be read"),
        ("{% from 'x' import y %}", (1, 1), "cannot be read"),
        ("{% block x %}{% endblock %}", (1, 1), "cannot be read"),
        ("{% macro x() %}{% endmacro %}", (1, 1), "cannot be read"),
        ("{% call x() %}{% endcall %}", (1, 1), "cannot be read"),
        ("{% break %}", (1, 1), "cannot be read"),
        ("x\n {% set x = 'y' %}", (2, 5), "this tag is not available"),
        ("{% set x %}y{% endset %}", (1, 4), "this tag is not available"),
        ("{% with x = 'y' %}{% endwith %}", (1, 4), "this tag is not available"),
        ("{% filter trim %}x{% endfilter %}", (1, 4), "this tag is not available"),
        ("{% autoescape true %}x{% endautoescape %}", (1, 4), "this tag is not available"),
        ("{% do dockerconfigjson('a', 'b', 'c') %}", (1, 4), "this tag is not available"),
        ("{{ USER ~ USER }}", (1, 4), "write `[A, B] | join`"),
        ("{{ 'x' * 100000000 }}", (1, 4), "arithmetic is not available"),
        ("{{ 'x' + 'y' }}", (1, 4), "arithmetic is not available"),
        ("{{ 2 ** 9 }}", (1, 4), "arithmetic is not available"),
        ("{{ -1 }}", (1, 4), "arithmetic is not available"),
        ("{{ with-dash }}", (1, 4), "secrets[\"A-B\"]"),
        ("{{ USER < 'x' }}", (1, 1), "only `==` and `!=`"),
        ("{{ 'a' in USER }}", (1, 1), "only `==` and `!=`"),
        ("{{ 'a' == 'b' == 'c' }}", (1, 1), "only `==` and `!=`"),
        ("{{ USER == PASSWORD }}", (1, 1), "compare with a text in quotes"),
        ("{{ USER[1:] }}", (1, 4), "slices are not available"),
        ("{{ USER[0] }}", (1, 4), "only `secrets[\"NAME\"]`"),
        ("{{ secrets[USER] }}", (1, 4), "only `secrets[\"NAME\"]`"),
        ("{{ ctx['stack'] }}", (1, 4), "only `secrets[\"NAME\"]`"),
        ("{{ secrets }}", (1, 4), "`secrets` is used as"),
        ("{{ ctx }}", (1, 4), "has the fields stack, component, namespace"),
        ("{{ ctx.uid }}", (1, 4), "no field uid"),
        ("{{ loop.index }}", (1, 4), "values have no fields"),
        ("{% for x in [USER] %}{{ loop.previtem }}{% endfor %}", (1, 25), "no field previtem"),
        ("{% for x in [USER] %}{{ loop([x]) }}{% endfor %}", (1, 25), "no function loop"),
        ("{% for x in [USER] recursive %}{% endfor %}", (1, 4), "cannot be recursive"),
        ("{% for a, b in [USER] %}{% endfor %}", (1, 4), "one variable"),
        ("{% for USER in [USER] %}{% endfor %}", (1, 8), "that is taken"),
        ("{% for secrets in [USER] %}{% endfor %}", (1, 8), "that is taken"),
        ("{% for x in [USER] %}{% endfor %}{{ x }}", (1, 37), "x is not declared"),
        ("{{ USER.name }}", (1, 4), "values have no fields"),
        ("{{ USER.upper() }}", (1, 8), "only functions can be called"),
        ("{{ USER() }}", (1, 4), "there is no function USER"),
        ("{{ range(9) }}", (1, 4), "there is no function range"),
        ("{{ dockerconfigjson }}", (1, 4), "is a function"),
        ("{{ dockerconfigjson('a') }}", (1, 4), "takes 3 to 30 arguments, not 1"),
        ("{{ dockerconfigjson(*[USER, USER, USER]) }}", (1, 4), "takes 3 to 30 arguments, not 1"),
        ("{{ USER | default(*[USER]) }}", (1, 11), "no names and no stars"),
        ("{{ USER | default(value='x') }}", (1, 11), "no names and no stars"),
        ("{{ USER | upper }}", (1, 11), "there is no filter upper; there is b64encode, default,"),
        ("{{ USER | safe }}", (1, 11), "there is no filter safe"),
        ("{{ USER | trim('x') }}", (1, 11), "filter trim takes 0 arguments, not 1"),
        ("{{ USER is string }}", (1, 12), "there is no test string; there is defined, undefined"),
        ("{{ USER if EMPTY }}", (1, 1), "needs an `else`"),
        ("{{ {USER: 'x'} | tojson }}", (1, 4), "keys of a map"),
    ] {
        let fault = compile(text).map(drop).unwrap_err();
        let reason = if words.contains("not declared") { Reason::NotDeclared } else { Reason::InvalidTarget };
        wrong.extend((!fault.message.contains(words) || fault.reason != reason).then(|| format!("{text}: {fault:?}")));
        wrong.extend((fault.at != Some(at)).then(|| format!("{text}: {fault}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let fault = compile("{{ PASWORD }}").map(drop).unwrap_err();
    assert_eq!(
        (fault.reason, fault.to_string().as_str()),
        (Reason::NotDeclared, "line 1 column 4: PASWORD is not declared here; did you mean PASSWORD?")
    );
}

/// Whatever the engine brings, what can be called is this list and nothing else. The documentation has the same list.
#[test]
fn nothing_else_can_be_called() {
    let environment = format!("{:?}", evaluate::environment());
    let list = |field: &str, open: char, close: char| -> Vec<String> {
        let (_, rest) = environment.split_once(&format!("{field}: {open}")).unwrap();
        let names = rest.split(close).next().unwrap().split(", ");
        names.map(|name| name.split(": ").next().unwrap().trim_matches('"').to_owned()).collect()
    };
    assert_eq!(list("globals", '{', '}'), ["dockerconfigjson"], "{environment}");
    assert_eq!(list("tests", '[', ']'), ["defined", "undefined"], "{environment}");
    let filters = ["b64encode", "default", "dotenv", "join", "split", "tojson", "toyaml", "trim", "urlencode"];
    assert_eq!(list("filters", '[', ']'), filters, "{environment}");
    let documented = include_str!("../../../docs/templates.md");
    for name in filters.iter().chain(functions::TESTS).copied().chain(functions::FUNCTIONS.iter().map(|each| each.name))
    {
        assert!(documented.contains(&format!("| `{name}")), "{name} has no row in docs/templates.md");
    }
}

#[test]
fn what_does_not_fit_is_said_without_values() {
    for (text, line, expected) in [
        ("\n{{ OPTIONAL }}", Some(2), Trouble::Undefined),
        ("{% if OPTIONAL %}x{% endif %}", Some(1), Trouble::Undefined),
        ("{{ [OPTIONAL] | join }}", Some(1), Trouble::Undefined),
        ("{{ OPTIONAL | b64encode }}", Some(1), Trouble::Undefined),
        ("{{ 'x' if OPTIONAL == 'x' else 'y' }}", Some(1), Trouble::Undefined),
        ("{{ {'a': OPTIONAL} | tojson }}", Some(1), Trouble::Undefined),
        ("{% for x in OPTIONAL %}{% endfor %}", Some(1), Trouble::Undefined),
        ("a\nb {{ BINARY }}", Some(2), Trouble::NotText),
        ("{{ BINARY | tojson }}", Some(1), Trouble::NotText),
        ("{{ BINARY | trim }}", Some(1), Trouble::NotText),
    ] {
        assert_eq!(render(text).unwrap_err(), Failure { line, trouble: expected }, "{text}");
    }
    for text in [
        "{{ [USER] }}",
        "{{ {'a': USER} }}",
        "{{ USER == 'app' }}",
        "{{ none }}",
        "{{ USER | join }}",
        "{{ USER | split('') }}",
        "{{ NUL | dotenv }}",
        "{{ dockerconfigjson('a', 'b:c', 'd') }}",
        "{{ dockerconfigjson('a', 'b', 'c', 'd') }}",
        "{{ dockerconfigjson('a', 'b', 'c', 'a', 'd', 'e') }}",
    ] {
        let Trouble::WrongType(words) = trouble(text) else { panic!("{text}") };
        assert!(!words.is_empty());
    }
    assert_eq!(trouble("{% for x in true %}{% endfor %}"), Trouble::Unexpected);
}

/// Every text that an error can show, for values that would be quoted by the engine's own words.
#[test]
fn no_error_shows_a_value() {
    let names = ["A", "B"];
    let canary = [SecretValue::from(CANARY.to_owned()), SecretValue::new([CANARY.as_bytes(), b"\xff\0"].concat())];
    let surroundings =
        Arc::new(Surroundings { stack: String::new(), component: String::new(), namespace: String::new() });
    let mut failed = 0;
    for text in [
        "{{ B }}",
        "{{ [A, B] }}",
        "{{ {'x': A} }}",
        "{{ A | split('') }}",
        "{{ A | join }}",
        "{{ B | tojson }}",
        "{{ B | dotenv }}",
        "{{ [A, [A]] | join }}",
        "{% for x in 5 %}{{ A }}{% endfor %}",
        "{% for x in A %}{% for y in A %}{% for z in A %}{{ A | b64encode }}{% for w in A %}{% for v in A %}{{ x }}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
        "{{ dockerconfigjson(A, B, A) }}",
        "{{ dockerconfigjson(A, A, A, A) }}",
        "{{ dockerconfigjson(A, A, A, A, A, A) }}",
    ] {
        let index_of = |name: &str| names.iter().position(|known| *known == name);
        let template = Template::compile(text, &surroundings, &index_of, names.into_iter()).unwrap();
        let failure = template.render(|index| canary.get(index)).map(drop).unwrap_err();
        failed += 1;
        let shown = format!("{failure} {failure:?} {template:?}");
        assert!(!shown.contains(CANARY), "{text}: {shown}");
    }
    assert_eq!(failed, 13);
}
