//! How large and how deep a template may be, told from its tokens alone.
//!
//! The parser, the check, the compiler and what drops their trees call themselves for what stands inside of something
//! else, also for the next link of a chain such as `not not …` or `A | trim | trim …`. A thread of the operator has 2 MiB
//! of stack, and a stack that overflows ends the process: so depth is bounded before anything is parsed.

use minijinja::machinery::{Span, Token, tokenize};

use super::Fault;
use super::check::{fault, unreadable};
use super::evaluate::syntax;

/// The most tokens of a template: each costs an instruction or two.
const MAX_TOKENS: usize = 500;

/// The most tokens between one pair of braces, where every token may be a link of a chain.
const MAX_TOKENS_IN_BRACES: usize = 100;

/// The most brackets inside of each other. The parser calls itself some fifteen times for each.
const MAX_BRACKETS: usize = 8;

/// The most tags inside of each other, `elif` included.
const MAX_BLOCKS: usize = 16;

/// Where a text ends that keeps to these bounds.
///
/// # Errors
/// It does not keep to them, or is not even a row of tokens.
pub(super) fn measure(text: &str) -> Result<Span, Fault> {
    let mut shape = Shape::default();
    let mut last = Span { start_line: 1, start_col: 0, ..Span::default() };
    for (count, token) in tokenize(text, false, syntax()).enumerate() {
        let Ok((token, span)) = token else { return Err(unreadable(last)) };
        shape.add(&token);
        let Shape { in_braces, brackets, ref blocks, is_first: _ } = shape;
        let too_much = match () {
            () if count >= MAX_TOKENS => {
                format!("it has more than {MAX_TOKENS} words and signs in braces; make several")
            }
            () if in_braces > MAX_TOKENS_IN_BRACES => {
                format!(
                    "there are more than {MAX_TOKENS_IN_BRACES} words and signs in one pair of braces; make several"
                )
            }
            () if brackets > MAX_BRACKETS => {
                format!("there are more than {MAX_BRACKETS} brackets inside of each other")
            }
            () if blocks.iter().sum::<usize>() > MAX_BLOCKS => {
                format!("there are more than {MAX_BLOCKS} tags inside of each other")
            }
            () => String::new(),
        };
        if !too_much.is_empty() {
            return Err(fault(span, too_much));
        }
        last = span;
    }
    Ok(last)
}

/// Where in the nesting a token stands.
#[derive(Default)]
struct Shape {
    in_braces: usize,
    brackets: usize,
    /// The tags that are open, each with the `elif` that it has.
    blocks: Vec<usize>,
    /// Whether the next token is the first of a tag.
    is_first: bool,
}

impl Shape {
    fn add(&mut self, token: &Token<'_>) {
        let is_first = std::mem::take(&mut self.is_first);
        self.in_braces = self.in_braces.saturating_add(1);
        match token {
            Token::TemplateData(_) => self.in_braces = 0,
            Token::VariableStart | Token::BlockStart => {
                (self.in_braces, self.brackets) = (0, 0);
                self.is_first = matches!(token, Token::BlockStart);
            }
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => self.brackets = self.brackets.saturating_add(1),
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                self.brackets = self.brackets.saturating_sub(1);
            }
            Token::Ident("else") if is_first => {}
            Token::Ident("elif") if is_first => {
                if let Some(block) = self.blocks.last_mut() {
                    *block = block.saturating_add(1);
                }
            }
            Token::Ident(word) if is_first && word.starts_with("end") => drop(self.blocks.pop()),
            Token::Ident(_) if is_first => self.blocks.push(1),
            // Whatever else there is does not nest.
            _ => {}
        }
    }
}
