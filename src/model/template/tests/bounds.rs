//! What the worst of templates cost.

use std::process::Command;

use super::*;

/// Renders with these values for `A` and `B`.
fn render_with(text: &str, values: &[SecretValue]) -> Result<usize, Trouble> {
    let names = ["A", "B"];
    let surroundings = Surroundings { stack: String::new(), component: String::new(), namespace: String::new() };
    let index_of = |name: &str| names.iter().position(|known| *known == name);
    let template = Template::compile(text, &Arc::new(surroundings), &index_of, names.into_iter()).unwrap();
    template.render(|index| values.get(index)).map(|value| value.expose().len()).map_err(|failure| failure.trouble)
}

fn filled(bytes: usize) -> SecretValue {
    SecretValue::from(",".repeat(bytes))
}

#[test]
fn a_long_text_is_refused() {
    assert!(compile(&"x".repeat(MAX_TEXT)).is_ok());
    let fault = compile(&"x".repeat(MAX_TEXT + 1)).map(drop).unwrap_err();
    assert_eq!((fault.at, fault.message.as_str()), (None, "it has 4097 bytes, at most 4096 are allowed"));
    let fault = compile(&"{{USER}}".repeat(300)).map(drop).unwrap_err();
    assert!(fault.message.contains("more than 500 words and signs"), "{fault}");
}

/// The parser, the check, the compiler and the destructors recurse: none of them may reach the end of a small stack.
#[test]
fn deep_nesting_is_refused_or_fits_into_half_of_a_thread_s_stack() {
    let blocks = "{%if USER%}".repeat(16);
    let deepest = (format!("{blocks}{{{{(((((((("), format!(")))))))) }}}}{}", "{%endif%}".repeat(16)));
    let deep = move || {
        let repeated = |start: &str, part: &str, middle: &str, back: &str, end: &str| {
            let times = (MAX_TEXT - start.len() - middle.len() - end.len()) / (part.len() + back.len());
            format!("{start}{}{middle}{}{end}", part.repeat(times), back.repeat(times))
        };
        let mut accepted = 0;
        for most in [usize::MAX, 490, 240, 98, 48, 24, 15, 8] {
            for (start, part, middle, back, end) in [
                ("{{", "-", "1", "", "}}"),
                ("{{", "not ", "USER", "", "}}"),
                ("{{", "(", "USER", ")", "}}"),
                ("{{", "[", "USER", "]", "}}"),
                ("{{", "{'a':", "USER", "}", "}}"),
                ("{{USER", "|trim", "", "", "}}"),
                ("{{USER", " is defined", "", "", "}}"),
                ("{{USER", ".a", "", "", "}}"),
                ("{{USER", "['a']", "", "", "}}"),
                ("{{USER", "()", "", "", "}}"),
                ("{{USER", " and USER", "", "", "}}"),
                ("{{USER", "~USER", "", "", "}}"),
                ("{{USER", " if USER else USER", "", "", "}}"),
                ("{{USER", "|default(USER", "", ")", "}}"),
                ("", "{%if USER%}", "x", "{%endif%}", ""),
                ("{%if USER%}", "{%elif USER%}", "x", "", "{%endif%}"),
                ("", "{%for x in USER%}", "x", "{%endfor%}", ""),
                ("", "{%with%}", "x", "{%endwith%}", ""),
                ("", "{%filter trim%}", "x", "{%endfilter%}", ""),
                // All of them together.
                (deepest.0.as_str(), "not ", "USER", "", deepest.1.as_str()),
            ] {
                let longest = repeated(start, part, middle, back, end);
                let times = longest.matches(part).count().min(most);
                let text = format!("{start}{}{middle}{}{end}", part.repeat(times), back.repeat(times));
                // Accepted or not: it comes back.
                if let Ok(template) = compile(&text) {
                    let user = value("USER").unwrap();
                    accepted += usize::from(template.render(|_| Some(&user)).is_ok());
                }
            }
        }
        assert!(accepted > 10, "only {accepted} were rendered");
    };
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(deep).unwrap().join().unwrap();
}

#[test]
fn loops_end() {
    let three = "{% for x in A %}{% for y in A %}{% for z in A %}{% endfor %}{% endfor %}{% endfor %}";
    assert_eq!(render_with(three, &[filled(1000)]), Err(Trouble::OutOfFuel));
    let many = "{% for x in A | split(',') %}{% for y in A %}{% if A | b64encode | b64encode | trim %}{% endif %}{% endfor %}{% endfor %}";
    assert_eq!(render_with(many, &[filled(200_000)]), Err(Trouble::TooMuchWork));
    // What people write is far below.
    assert_eq!(
        render_with("{% for x in A | split(',') %}{{ x }}{{ loop.index }}\n{% endfor %}", &[filled(400)]),
        Ok(1496)
    );
}

#[test]
fn output_and_input_have_a_limit() {
    let half = MAX_OUTPUT / 2;
    assert_eq!(render_with("{{ A }}{{ A }}", &[filled(half)]), Ok(MAX_OUTPUT));
    assert_eq!(render_with("{{ A }}{{ A }}.", &[filled(half)]), Err(Trouble::TooLarge));
    assert_eq!(render_with("{{ A }}{{ A }}{{ '' }}{{ A }}", &[filled(half)]), Err(Trouble::TooLarge));
    assert_eq!(render_with("{% if A and B %}x{% endif %}", &[filled(half), filled(half)]), Ok(1));
    assert_eq!(render_with("{% if A and B %}x{% endif %}", &[filled(half), filled(half + 1)]), Err(Trouble::TooLarge));
}

const MAX_OUTPUT: usize = crate::model::render::MAX_SECRET_BYTES;

/// Templates that would like a great deal of memory, of what is allowed and of what is not.
const GREEDY: &[&str] = &[
    "{{ 'x' * 100000000 }}",
    "{{ ('x' * 100000000) ~ ('x' * 100000000) ~ ('x' * 100000000) }}",
    "{{ A * 100 }}",
    "{{ [A] * 100000000 }}",
    "{{ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A ~ A }}",
    "{% set a = A ~ A %}{% set b = a ~ a %}{% set c = b ~ b %}{% set d = c ~ c %}{% set e = d ~ d %}{{ e }}",
    "{% set a %}{{ A }}{{ A }}{% endset %}{% set b %}{{ a }}{{ a }}{% endset %}{{ b }}",
    "{{ range(100000000) | join }}",
    "{{ A | split(',') | join(A) }}",
    "{{ A | tojson | tojson | tojson | tojson | tojson | tojson | tojson | tojson | tojson }}",
    "{{ A | urlencode | urlencode | urlencode | urlencode | urlencode | urlencode | urlencode }}",
    "{{ A | b64encode | b64encode | b64encode | b64encode | b64encode | b64encode | b64encode | b64encode }}",
    "{{ A | dotenv | dotenv | dotenv | dotenv | dotenv | dotenv | dotenv | dotenv | dotenv | dotenv }}",
    "{{ [[A, A, A, A], [A, A, A, A], [A, A, A, A], [A, A, A, A], [A, A, A, A]] | tojson }}",
    "{{ [[A, A, A, A] | join, [A, A, A, A] | join, [A, A, A, A] | join, [A, A, A, A] | join] | join }}",
    "{{ dockerconfigjson(A, A, A, A, A, A, A, A, A) }}",
    "{% for x in A | split(',') %}{% for y in A | split(',') %}{{ A | split(',') | join(A) }}{% endfor %}{% endfor %}",
    "{% for x in A %}{{ A }}{{ A }}{{ A }}{% endfor %}",
];

/// Tells the process that a test started what it is to do.
const TASK: &str = "ATMOS_TEST_RENDERS";

/// Renders them all in a process of its own, whose greatest size the kernel keeps.
#[test]
#[expect(clippy::disallowed_methods, reason = "the task of a process that this test started")]
fn memory_is_bounded() {
    match std::env::var(TASK).as_deref() {
        Ok("nothing") => return print_greatest_size(),
        Ok(_) => return render_the_greedy(),
        Err(_) => {}
    }
    let program = std::env::current_exe().unwrap();
    let run = |task: &str| {
        let output = Command::new(&program)
            .args([
                "--exact",
                "--nocapture",
                "--test-threads",
                "1",
                "model::template::tests::bounds::memory_is_bounded",
            ])
            .env(TASK, task)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let size = text.lines().find_map(|line| line.split_once("greatest size: ")?.1.strip_suffix(" KiB"));
        size.unwrap_or_else(|| panic!("{text}")).trim().parse::<usize>().unwrap()
    };
    let (nothing, greedy) = (run("nothing"), run("greedy"));
    // 16 MiB of work, the values twice, the output, and what the allocator keeps.
    assert!(greedy.saturating_sub(nothing) < 48 * 1024, "{greedy} KiB, {nothing} KiB without");
}

fn print_greatest_size() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")).unwrap();
    print_line(&format!("greatest size: {size} KiB"));
}

fn print_line(text: &str) {
    use std::io::Write;
    std::io::stdout().write_all(format!("\n{text}\n").as_bytes()).unwrap();
}

fn render_the_greedy() {
    let mut rendered = 0;
    for text in GREEDY {
        let names = ["A"];
        let surroundings = Surroundings { stack: String::new(), component: String::new(), namespace: String::new() };
        let index_of = |name: &str| names.iter().position(|known| *known == name);
        let value = filled(MAX_OUTPUT);
        if let Ok(template) = Template::compile(text, &Arc::new(surroundings), &index_of, names.into_iter()) {
            assert!(template.render(|_| Some(&value)).is_err(), "{text}");
            rendered += 1;
        }
    }
    assert!(rendered >= 9, "only {rendered} were accepted");
    print_greatest_size();
}
