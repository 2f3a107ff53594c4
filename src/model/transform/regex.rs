//! Replaces the matches of a regular expression, without backtracking and on a budget.
//!
//! A linear-time matcher alone is no bound: to find *all* matches, some patterns look at the rest of the text once for
//! each of them (<https://docs.rs/regex/latest/regex/#iterating-over-matches>), and a pattern with thousands of states
//! costs that much for each byte. So the end of each match is found by a lazy DFA that is driven byte by byte and counted,
//! and gives up if it needs more states than its cache holds. Only the stretch up to that end is looked at for where the
//! match begins and what its groups are, and that is counted in bytes times states.

use std::sync::Arc;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{self, NFA};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Input, PatternID};

use super::Failure;
use super::output::Output;
use crate::value::SecretValue;

/// The longest pattern, in bytes; the schema says the same in characters.
const LONGEST_PATTERN: usize = 1024;

/// Memory of the compiled pattern, about 1,500 states: `\w` of Unicode, the largest class, fits several times.
const LARGEST_PROGRAM: usize = 64 * 1024;

/// Memory for the states of the DFA that a text leads to.
const LARGEST_CACHE: usize = 1024 * 1024;

/// Bytes that all searches of one step may look at: a value of the greatest size eight times.
const SEARCHED: usize = 8 * 1024 * 1024;

/// Bytes times states that finding the groups of all matches may take: for a value of
/// the greatest size a pattern of eight states, for one of 4 KiB any pattern that is admitted.
const MATCHED: usize = 8 * 1024 * 1024;

const TOO_MUCH_WORK: Failure = Failure::Unfit { why: "is too long for a pattern of this kind", offset: None };

/// A checked pattern and what its matches become.
pub(super) struct Replacement {
    program: Arc<Program>,
    parts: Vec<Part>,
}

struct Program {
    ends: DFA,
    groups: PikeVM,
}

/// A part of the replacement.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A group by its number.
    Group(usize),
}

// The compiled pattern is thousands of numbers.
impl std::fmt::Debug for Replacement {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Replacement").field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl Replacement {
    /// Compiles the pattern and checks the groups that the replacement names.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(pattern: &str, replacement: &str) -> Result<Self, String> {
        if pattern.is_empty() || pattern.len() > LONGEST_PATTERN {
            return Err(format!("`pattern` has 1 to {LONGEST_PATTERN} bytes"));
        }
        let program = Program::compile(pattern)?;
        let parts = parts(replacement, program.groups.get_nfa())?;
        Ok(Self { program: Arc::new(program), parts })
    }

    /// The text with every match replaced.
    pub fn apply(&self, text: &str) -> Result<SecretValue, Failure> {
        let bytes = text.as_bytes();
        let mut output = Output::with_capacity(bytes.len());
        let mut search = self.program.search();
        // Where the next search begins, up to where the text is written, and where the last match ended.
        let (mut from, mut written, mut last_end) = (0, 0, None);
        while let Some(slots) = search.next(text, from)? {
            let group = |number: usize| span(&slots, number).and_then(|(start, end)| bytes.get(start..end));
            let Some((start, end)) = span(&slots, 0) else { break };
            if start == end && last_end == Some(end) {
                // An empty match right after a match is not one more.
                let Some(next) = text.get(end..).and_then(|rest| rest.chars().next()) else { break };
                (from, last_end) = (end + next.len_utf8(), None);
                continue;
            }
            output.push(bytes.get(written..start).unwrap_or_default())?;
            for part in &self.parts {
                output.push(match part {
                    Part::Text(text) => text.as_bytes(),
                    Part::Group(number) => group(*number).unwrap_or_default(),
                })?;
            }
            (from, written, last_end) = (end, end, Some(end));
        }
        output.push(bytes.get(written..).unwrap_or_default())?;
        Ok(output.into_value())
    }
}

type Slots = Vec<Option<NonMaxUsize>>;

fn span(slots: &Slots, group: usize) -> Option<(usize, usize)> {
    let place = |slot: usize| slots.get(slot).copied().flatten().map(NonMaxUsize::get);
    Some((place(group * 2)?, place(group * 2 + 1)?))
}

impl Program {
    fn compile(pattern: &str) -> Result<Self, String> {
        const COMPLEX: &str = "`pattern` is no regular expression, or too large; Unicode word boundaries are not \
                               supported: write `(?-u:\\b)`";
        let nfa = thompson::Compiler::new()
            .configure(thompson::Config::new().nfa_size_limit(Some(LARGEST_PROGRAM)))
            .syntax(regex_automata::util::syntax::Config::new().nest_limit(64))
            .build(pattern)
            .map_err(|_| COMPLEX.to_owned())?;
        let ends = DFA::builder()
            .configure(DFA::config().cache_capacity(LARGEST_CACHE).minimum_cache_clear_count(Some(1)))
            .build_from_nfa(nfa.clone())
            .map_err(|_| COMPLEX.to_owned())?;
        let groups = PikeVM::new_from_nfa(nfa).map_err(|_| COMPLEX.to_owned())?;
        Ok(Self { ends, groups })
    }

    fn search(&self) -> Search<'_> {
        Search {
            program: self,
            ends: self.ends.create_cache(),
            groups: self.groups.create_cache(),
            searched: SEARCHED,
            matched: MATCHED,
        }
    }
}

/// One walk over a text, with what is left of the budget.
struct Search<'a> {
    program: &'a Program,
    ends: Cache,
    groups: regex_automata::nfa::thompson::pikevm::Cache,
    searched: usize,
    matched: usize,
}

impl Search<'_> {
    /// The groups of the next match at or after `from`.
    fn next(&mut self, text: &str, mut from: usize) -> Result<Option<Slots>, Failure> {
        let nfa = self.program.groups.get_nfa();
        while let Some(end) = self.end(text.as_bytes(), from)? {
            let cost = (end - from + 1).saturating_mul(nfa.states().len());
            self.matched = self.matched.checked_sub(cost).ok_or(TOO_MUCH_WORK)?;
            let mut slots = vec![None; nfa.group_info().slot_len()];
            // What stands behind the end is seen by `$` and boundaries, but no match leads there: this finds the same one.
            let input = Input::new(text).span(from..end);
            if self.program.groups.search_slots(&mut self.groups, &input, &mut slots).is_some() {
                return Ok(Some(slots));
            }
            // An empty match inside of a character is none.
            match (end + 1..=text.len()).find(|place| text.is_char_boundary(*place)) {
                Some(next) => from = next,
                None => break,
            }
        }
        Ok(None)
    }

    /// Where the next match at or after `from` ends.
    fn end(&mut self, bytes: &[u8], from: usize) -> Result<Option<usize>, Failure> {
        let dfa = &self.program.ends;
        let input = Input::new(bytes).range(from..);
        let mut state = dfa.start_state_forward(&mut self.ends, &input).map_err(|_| TOO_MUCH_WORK)?;
        let mut end = None;
        for (place, byte) in bytes.iter().enumerate().skip(from) {
            self.searched = self.searched.checked_sub(1).ok_or(TOO_MUCH_WORK)?;
            state = dfa.next_state(&mut self.ends, state, *byte).map_err(|_| TOO_MUCH_WORK)?;
            if state.is_match() {
                // The DFA tells of a match one byte late.
                end = Some(place);
            } else if state.is_dead() {
                return Ok(end);
            } else if state.is_quit() {
                return Err(TOO_MUCH_WORK);
            }
        }
        state = dfa.next_eoi_state(&mut self.ends, state).map_err(|_| TOO_MUCH_WORK)?;
        Ok(if state.is_match() { Some(bytes.len()) } else { end })
    }
}

/// Reads `$1`, `${name}` and `$$`. A group that the pattern has not is an error: it would stand for nothing.
fn parts(replacement: &str, nfa: &NFA) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut pieces = replacement.split('$');
    parts.extend(pieces.next().map(|text| Part::Text(text.to_owned())));
    let mut after_dollar = false;
    for piece in pieces {
        if after_dollar {
            after_dollar = false;
            parts.push(Part::Text(piece.to_owned()));
            continue;
        }
        if piece.is_empty() {
            after_dollar = true;
            parts.push(Part::Text("$".to_owned()));
            continue;
        }
        let braced = piece.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let digits = piece.len() - piece.trim_start_matches(|character: char| character.is_ascii_digit()).len();
        let (name, rest) = match (braced, piece.split_at_checked(digits)) {
            (Some(split), _) => split,
            (None, Some(split)) if digits > 0 => split,
            (None, _) => return Err(LONE_DOLLAR.to_owned()),
        };
        let info = nfa.group_info();
        let number = match name.parse::<usize>() {
            Ok(number) => (number < info.group_len(PatternID::ZERO)).then_some(number),
            Err(_) => info.to_index(PatternID::ZERO, name),
        };
        let number = number.ok_or_else(|| format!("`replacement` names the group {name}, which `pattern` has not"))?;
        parts.push(Part::Group(number));
        parts.push(Part::Text(rest.to_owned()));
    }
    match after_dollar {
        true => Err(LONE_DOLLAR.to_owned()),
        false => Ok(parts),
    }
}

const LONE_DOLLAR: &str = "a `$` in `replacement` is followed by a number, `{name}` or another `$`";
