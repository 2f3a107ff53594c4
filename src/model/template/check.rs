//! Decides what a template may do, and finds the names that it uses, before anything is compiled or rendered.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, ForLoop, Stmt, UnaryOpKind};
use minijinja::machinery::{Span, parse};

use super::evaluate::syntax;
use super::functions::{Callable, FILTERS, FUNCTIONS, TESTS};
use super::shape::measure;
use super::{Fault, MAX_TEXT};
use crate::api::Reason;
use crate::model::near::nearest;

/// The map of all names: `secrets["NAME"]`.
pub(super) const SECRETS: &str = "secrets";

/// The map of what is no secret.
pub(super) const CONTEXT: &str = "ctx";

/// What the engine calls the state of a loop.
const LOOP: &str = "loop";

/// What `ctx` has.
const CONTEXT_FIELDS: &[&str] = &["stack", "component", "namespace"];

/// What `loop` has.
const LOOP_FIELDS: &[&str] = &["first", "last", "index"];

/// The names that the template uses.
///
/// # Errors
/// See [`Template::compile`](super::Template::compile).
pub(super) fn check(text: &str, known: &[&str]) -> Result<BTreeSet<String>, Fault> {
    if text.len() > MAX_TEXT {
        let message = format!("it has {} bytes, at most {MAX_TEXT} are allowed", text.len());
        return Err(Fault { reason: Reason::InvalidTarget, at: None, message });
    }
    let last = measure(text)?;
    let tree = parse(text, "", syntax()).map_err(|error| {
        let line = error.line().and_then(|line| u16::try_from(line).ok());
        unreadable(Span { start_line: line.unwrap_or(last.start_line), start_col: 0, ..last })
    })?;
    let mut checker = Checker { known, used: BTreeSet::new(), bound: Vec::new() };
    checker.statement(&tree)?;
    Ok(checker.used)
}

pub(super) fn fault(span: Span, message: impl Into<String>) -> Fault {
    let at = Some((span.start_line, span.start_col.saturating_add(1)));
    Fault { reason: Reason::InvalidTarget, at, message: message.into() }
}

pub(super) fn unreadable(span: Span) -> Fault {
    fault(
        span,
        "it cannot be read here; look at its braces, quotes and tags (there are if, elif, else, endif, for, endfor and raw)",
    )
}

struct Checker<'a> {
    known: &'a [&'a str],
    used: BTreeSet<String>,
    /// The variables of the loops around.
    bound: Vec<&'a str>,
}

impl<'a> Checker<'a> {
    fn statements(&mut self, statements: &[Stmt<'a>]) -> Result<(), Fault> {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    // No `_`: a kind of statement that the engine adds is to be decided here.
    fn statement(&mut self, statement: &Stmt<'a>) -> Result<(), Fault> {
        let refused = |span| Err(fault(span, "this tag is not available; there are if, for and raw"));
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitRaw(_) => Ok(()),
            Stmt::EmitExpr(emit) => self.expression(&emit.expr),
            Stmt::IfCond(condition) => {
                self.expression(&condition.expr)?;
                self.statements(&condition.true_body)?;
                self.statements(&condition.false_body)
            }
            Stmt::ForLoop(each) => self.for_loop(each, each.span()),
            Stmt::WithBlock(node) => refused(node.span()),
            Stmt::Set(node) => refused(node.span()),
            Stmt::SetBlock(node) => refused(node.span()),
            Stmt::AutoEscape(node) => refused(node.span()),
            Stmt::FilterBlock(node) => refused(node.span()),
            Stmt::Do(node) => refused(node.span()),
        }
    }

    fn for_loop(&mut self, each: &ForLoop<'a>, span: Span) -> Result<(), Fault> {
        let ForLoop { target, iter, filter_expr, recursive, body, else_body } = each;
        if *recursive {
            return Err(fault(span, "a loop cannot be recursive"));
        }
        let Expr::Var(variable) = target else {
            return Err(fault(span, "a loop has one variable"));
        };
        let name = variable.id;
        let taken = is_reserved(name) || self.bound.contains(&name) || self.known.contains(&name);
        if taken {
            return Err(fault(
                variable.span(),
                format!("the variable of a loop cannot be called {name}: that is taken"),
            ));
        }
        self.expression(iter)?;
        self.bound.push(name);
        if let Some(filter) = filter_expr {
            self.expression(filter)?;
        }
        self.statements(body)?;
        self.bound.pop();
        self.statements(else_body)
    }

    // No `_` here either.
    fn expression(&mut self, expression: &Expr<'a>) -> Result<(), Fault> {
        let span = expression.span();
        match expression {
            Expr::Const(_) => Ok(()),
            Expr::Var(variable) => self.variable(variable.id, span),
            Expr::GetAttr(attribute) => self.field(&attribute.expr, attribute.name, span),
            Expr::GetItem(item) => match (&item.expr, text_of(&item.subscript_expr)) {
                (Expr::Var(map), Some(name)) if map.id == SECRETS && !self.bound.contains(&SECRETS) => {
                    self.uses(&name, span)
                }
                (_, _) => Err(fault(span, "only `secrets[\"NAME\"]` can have brackets, with a NAME in quotes")),
            },
            Expr::UnaryOp(operation) => match operation.op {
                UnaryOpKind::Not => self.expression(&operation.expr),
                UnaryOpKind::Neg => Err(no_arithmetic(span)),
            },
            Expr::BinOp(operation) => match operation.op {
                BinOpKind::ScAnd | BinOpKind::ScOr => {
                    self.expression(&operation.left)?;
                    self.expression(&operation.right)
                }
                // So that a comparison costs no more than the template's own text.
                BinOpKind::Eq | BinOpKind::Ne => {
                    if text_of(&operation.left).or(text_of(&operation.right)).is_none() {
                        return Err(fault(span, "compare with a text in quotes"));
                    }
                    self.expression(&operation.left)?;
                    self.expression(&operation.right)
                }
                BinOpKind::Lt | BinOpKind::Lte | BinOpKind::Gt | BinOpKind::Gte | BinOpKind::In => {
                    Err(only_equality(span))
                }
                BinOpKind::Concat => Err(fault(span, "`~` is not available; write `[A, B] | join`")),
                BinOpKind::Add
                | BinOpKind::Sub
                | BinOpKind::Mul
                | BinOpKind::Div
                | BinOpKind::FloorDiv
                | BinOpKind::Rem
                | BinOpKind::Pow => Err(no_arithmetic(span)),
            },
            Expr::Compare(_) => Err(only_equality(span)),
            Expr::Slice(_) => Err(fault(span, "slices are not available")),
            Expr::IfExpr(choice) => {
                let Some(otherwise) = &choice.false_expr else {
                    return Err(fault(span, "an `if` inside of an expression needs an `else`"));
                };
                self.expression(&choice.test_expr)?;
                self.expression(&choice.true_expr)?;
                self.expression(otherwise)
            }
            Expr::Filter(filter) => {
                if let Some(value) = &filter.expr {
                    self.expression(value)?;
                }
                let callable = find(FILTERS, "filter", filter.name, span)?;
                self.arguments("filter", callable.name, &callable.arguments, &filter.args, span)
            }
            Expr::Test(test) => {
                self.expression(&test.expr)?;
                if !TESTS.contains(&test.name) {
                    return Err(unknown("test", test.name, TESTS.iter().copied(), span));
                }
                self.arguments("test", test.name, &(0..=0), &test.args, span)
            }
            Expr::Call(call) => self.call(call, span),
            Expr::List(list) => list.items.iter().try_for_each(|item| self.expression(item)),
            Expr::Tuple(tuple) => tuple.items.iter().try_for_each(|item| self.expression(item)),
            Expr::Map(map) => {
                if map.keys.iter().any(|key| text_of(key).is_none()) {
                    return Err(fault(span, "the keys of a map are texts in quotes"));
                }
                map.values.iter().try_for_each(|value| self.expression(value))
            }
        }
    }

    fn call(&mut self, call: &Call<'a>, span: Span) -> Result<(), Fault> {
        let Expr::Var(function) = &call.expr else {
            return Err(fault(span, "only functions can be called; see the list of functions"));
        };
        let callable = find(FUNCTIONS, "function", function.id, span)?;
        self.arguments("function", callable.name, &callable.arguments, &call.args, span)
    }

    fn arguments(
        &mut self,
        what: &str,
        name: &str,
        allowed: &RangeInclusive<usize>,
        arguments: &[CallArg<'a>],
        span: Span,
    ) -> Result<(), Fault> {
        if !allowed.contains(&arguments.len()) {
            let count = match (allowed.start(), allowed.end()) {
                (least, most) if least == most => format!("{least}"),
                (least, most) => format!("{least} to {most}"),
            };
            return Err(fault(span, format!("{what} {name} takes {count} arguments, not {}", arguments.len())));
        }
        arguments.iter().try_for_each(|argument| match argument {
            CallArg::Pos(value) => self.expression(value),
            CallArg::Kwarg(..) | CallArg::PosSplat(_) | CallArg::KwargSplat(_) => {
                Err(fault(span, format!("arguments of {what} {name} have no names and no stars")))
            }
        })
    }

    fn variable(&mut self, name: &str, span: Span) -> Result<(), Fault> {
        match name {
            _ if self.bound.contains(&name) => Ok(()),
            SECRETS => Err(fault(span, "`secrets` is used as `secrets[\"NAME\"]`")),
            CONTEXT => Err(fault(span, format!("`ctx` has the fields {}", CONTEXT_FIELDS.join(", ")))),
            LOOP => Err(fault(span, format!("`loop` has the fields {}", LOOP_FIELDS.join(", ")))),
            _ if is_reserved(name) => {
                Err(fault(span, format!("{name} is a function; a NAME like that is written `secrets[\"{name}\"]`")))
            }
            _ => self.uses(name, span),
        }
    }

    fn field(&mut self, of: &Expr<'a>, field: &str, span: Span) -> Result<(), Fault> {
        let one_of = |what: &str, fields: &[&str]| match fields.contains(&field) {
            true => Ok(()),
            false => Err(fault(span, format!("`{what}` has no field {field}; it has {}", fields.join(", ")))),
        };
        match of {
            Expr::Var(map) if map.id == SECRETS => self.uses(field, span),
            Expr::Var(map) if map.id == CONTEXT => one_of(CONTEXT, CONTEXT_FIELDS),
            Expr::Var(map) if map.id == LOOP && !self.bound.is_empty() => one_of(LOOP, LOOP_FIELDS),
            _ => Err(fault(
                span,
                "values have no fields; a NAME with a dot is written `secrets[\"A.B\"]`, a field of a \
                                  JSON value is a declaration with `path`",
            )),
        }
    }

    fn uses(&mut self, name: &str, span: Span) -> Result<(), Fault> {
        if self.known.contains(&name) {
            self.used.insert(name.to_owned());
            return Ok(());
        }
        let meant = match nearest(name, self.known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => "declare it, or correct it".to_owned(),
        };
        Err(Fault { reason: Reason::NotDeclared, ..fault(span, format!("{name} is not declared here; {meant}")) })
    }
}

/// Whether a bare word means something else than the NAME.
pub(super) fn is_reserved(word: &str) -> bool {
    [SECRETS, CONTEXT, LOOP].contains(&word) || FUNCTIONS.iter().any(|function| function.name == word)
}

/// A text that stands in the template itself.
fn text_of(expression: &Expr<'_>) -> Option<String> {
    match expression {
        Expr::Const(literal) => literal.value.as_str().map(str::to_owned),
        Expr::Var(_)
        | Expr::Slice(_)
        | Expr::UnaryOp(_)
        | Expr::BinOp(_)
        | Expr::Compare(_)
        | Expr::IfExpr(_)
        | Expr::Filter(_)
        | Expr::Test(_)
        | Expr::GetAttr(_)
        | Expr::GetItem(_)
        | Expr::Call(_)
        | Expr::List(_)
        | Expr::Tuple(_)
        | Expr::Map(_) => None,
    }
}

fn find<'c>(list: &'c [Callable], what: &str, name: &str, span: Span) -> Result<&'c Callable, Fault> {
    let found = list.iter().find(|callable| callable.name == name);
    found.ok_or_else(|| unknown(what, name, list.iter().map(|callable| callable.name), span))
}

fn unknown<'c>(what: &str, name: &str, known: impl Iterator<Item = &'c str>, span: Span) -> Fault {
    let known: Vec<&str> = known.collect();
    fault(span, format!("there is no {what} {name}; there is {}", known.join(", ")))
}

fn no_arithmetic(span: Span) -> Fault {
    fault(span, "arithmetic is not available; a NAME with a dash is written `secrets[\"A-B\"]`")
}

fn only_equality(span: Span) -> Fault {
    fault(span, "of comparisons there are only `==` and `!=`")
}
