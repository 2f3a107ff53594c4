//! The grammar of paths.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;

#[test]
fn reads_the_grammar() {
    let name = |name: &str| Step::Name(name.to_owned());
    for (text, steps) in [
        (".a", vec![name("a")]),
        (".a[\"b.c\"][0]", vec![name("a"), name("b.c"), Step::Index(0)]),
        (".a.\"b c\"[-1]", vec![name("a"), name("b c"), Step::Index(-1)]),
        (".[\"x\"].[2]", vec![name("x"), Step::Index(2)]),
        ("[\"q\\\"\\\\\"]", vec![name("q\"\\")]),
        ("[\"\"]", vec![name("")]),
        (".x-y_0", vec![name("x-y_0")]),
    ] {
        assert_eq!(Path::parse(text).unwrap().0, steps, "{text}");
    }
}

#[test]
fn says_where_it_is_wrong() {
    for (text, column) in [
        ("", 1),
        (".", 2),
        ("a", 1),
        (".a b", 3),
        (".a..b", 4),
        (".a[", 4),
        (".a[x]", 4),
        (".a[1x]", 4),
        (".a[1", 5),
        (".é", 2),
        (".a[\"b]", 7),
        (".a[\"\\n\"]", 6),
        (".a[99999999999999999999]", 4),
        (".a // \"d\"", 3),
    ] {
        assert_eq!(Path::parse(text).unwrap_err().column, column, "{text}");
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![any::<String>().prop_map(Step::Name), any::<i64>().prop_map(Step::Index)];
    proptest::collection::vec(step, 1..6)
}

proptest! {
    #[test]
    fn what_is_written_is_read(steps in steps()) {
        let path = Path(steps);
        prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
    }

    #[test]
    fn no_text_breaks_the_reader(text in ".*") {
        let _ = Path::parse(&text);
    }
}
