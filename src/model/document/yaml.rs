//! YAML values as a tree of nodes, in which aliases share what they repeat.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle};
use zeroize::Zeroizing;

use super::{MAX_BYTES, Member, is_json_number, not_found, position, quoted};
use crate::model::path::{LeafError, Step};
use crate::value::SecretValue;

/// How many nodes are visited at most, aliases and merges expanded. A value of the greatest size has fewer of its own.
const FUEL: usize = 2_000_000;

enum Node {
    Scalar { text: Zeroizing<String>, is_string: bool },
    Sequence(Vec<Rc<Self>>),
    Mapping(Vec<(Rc<Self>, Rc<Self>)>),
}

/// A collection that is not closed yet.
struct Open {
    anchor: usize,
    is_mapping: bool,
    nodes: Vec<Rc<Node>>,
}

impl Open {
    fn close(self) -> Node {
        if !self.is_mapping {
            return Node::Sequence(self.nodes);
        }
        let mut members = Vec::with_capacity(self.nodes.len() / 2);
        let mut nodes = self.nodes.into_iter();
        while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
            members.push((key, value));
        }
        Node::Mapping(members)
    }
}

/// See [`crate::model::path::Path::leaf`].
pub(super) fn leaf(text: &str, steps: &[Step]) -> Result<SecretValue, LeafError> {
    let mut node = parse(text)?;
    match *node {
        Node::Scalar { .. } => return Err(LeafError::NotStructured),
        Node::Sequence(_) | Node::Mapping(_) => {}
    }
    let mut walk = Walk { fuel: FUEL, output: Zeroizing::new(String::new()) };
    for (depth, step) in steps.iter().enumerate() {
        let next = match (step, node.as_ref()) {
            (Step::Name(name), Node::Mapping(own)) => {
                let members = walk.members(own)?;
                match members.iter().find(|(key, _)| key == name) {
                    Some((_, value)) => Rc::clone(value),
                    None => return Err(not_found(steps, depth, members.iter().map(|(key, _)| *key))),
                }
            }
            (Step::Index(index), Node::Sequence(items)) => {
                match position(*index, items.len()).and_then(|position| items.get(position)) {
                    Some(item) => Rc::clone(item),
                    None => return Err(not_found(steps, depth, std::iter::empty())),
                }
            }
            (Step::Name(_), Node::Scalar { .. } | Node::Sequence(_))
            | (Step::Index(_), Node::Scalar { .. } | Node::Mapping(_)) => {
                return Err(not_found(steps, depth, std::iter::empty()));
            }
        };
        node = next;
    }
    walk.written(&node)
}

/// See [`super::members`].
pub(super) fn members(text: &str) -> Result<Vec<Member>, LeafError> {
    let node = parse(text)?;
    let Node::Mapping(own) = node.as_ref() else { return Err(LeafError::NotStructured) };
    let mut walk = Walk { fuel: FUEL, output: Zeroizing::new(String::new()) };
    let mut size = 0;
    let mut found = Vec::new();
    for (name, node) in walk.members(own)? {
        let value = walk.written(node)?;
        size += value.expose().len();
        if size > MAX_BYTES {
            return Err(LeafError::TooLarge);
        }
        found.push((Zeroizing::new(name.to_owned()), value));
    }
    Ok(found)
}

/// Builds the tree. The parser bounds the nesting (255 levels of each kind), so that recursion over the tree is bounded.
fn parse(text: &str) -> Result<Rc<Node>, LeafError> {
    let mut anchors: HashMap<usize, Rc<Node>> = HashMap::new();
    let mut open: Vec<Open> = Vec::new();
    let mut documents: Vec<Rc<Node>> = Vec::new();
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    for next in Parser::new_from_str_with_options(text, options) {
        // The parser's own words quote the text, so they are dropped.
        let (event, _) = next.map_err(|_| LeafError::NotStructured)?;
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix() == "str");
                let is_string = is_text || style != ScalarStyle::Plain;
                (anchor, Rc::new(Node::Scalar { text: Zeroizing::new(text.into_owned()), is_string }))
            }
            Event::SequenceStart(_, anchor, _) => {
                open.push(Open { anchor, is_mapping: false, nodes: Vec::new() });
                continue;
            }
            Event::MappingStart(_, anchor, _) => {
                open.push(Open { anchor, is_mapping: true, nodes: Vec::new() });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let collection = open.pop().ok_or(LeafError::NotStructured)?;
                (collection.anchor, Rc::new(collection.close()))
            }
            // What is still open has no node yet: such an alias would close a circle.
            Event::Alias(anchor) => (0, anchors.get(&anchor).cloned().ok_or(LeafError::NotStructured)?),
            // The enum may grow; what is left and known carries no data.
            _ => continue,
        };
        if anchor != 0 {
            anchors.insert(anchor, Rc::clone(&node));
        }
        match open.last_mut() {
            Some(collection) => collection.nodes.push(node),
            None => documents.push(node),
        }
    }
    match (documents.pop(), documents.is_empty()) {
        (Some(document), true) => Ok(document),
        (Some(_) | None, _) => Err(LeafError::NotStructured),
    }
}

struct Walk {
    fuel: usize,
    output: Zeroizing<String>,
}

impl Walk {
    fn burn(&mut self) -> Result<(), LeafError> {
        self.fuel = self.fuel.checked_sub(1).ok_or(LeafError::TooLarge)?;
        Ok(())
    }

    /// The text of a scalar, or a collection as JSON.
    fn written(&mut self, node: &Node) -> Result<SecretValue, LeafError> {
        match node {
            Node::Scalar { text, is_string: false } if is_null(text) => Ok(SecretValue::new(b"null".to_vec())),
            Node::Scalar { text, .. } => Ok(SecretValue::new(text.as_bytes().to_vec())),
            Node::Sequence(_) | Node::Mapping(_) => {
                self.output = Zeroizing::new(String::new());
                self.write(node)?;
                Ok(SecretValue::new(self.output.as_bytes().to_vec()))
            }
        }
    }

    /// Members by name: those of the mapping, the last of equal names, then those that `<<` merges, the first of each.
    fn members<'a>(&mut self, own: &'a [(Rc<Node>, Rc<Node>)]) -> Result<Vec<(&'a str, &'a Rc<Node>)>, LeafError> {
        let mut members: Vec<(&str, &Rc<Node>)> = Vec::with_capacity(own.len());
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(own.len());
        let mut merges: Vec<&Rc<Node>> = Vec::new();
        for (key, value) in own {
            self.burn()?;
            match key.as_ref() {
                Node::Scalar { text, is_string: false } if text.as_str() == "<<" => merges.push(value),
                Node::Scalar { text, .. } => {
                    match places.get(text.as_str()).and_then(|place| members.get_mut(*place)) {
                        Some(member) => member.1 = value,
                        None => {
                            places.insert(text, members.len());
                            members.push((text, value));
                        }
                    }
                }
                // JSON has no name for it.
                Node::Sequence(_) | Node::Mapping(_) => {}
            }
        }
        for merge in merges {
            let single = std::slice::from_ref(merge);
            let sources = match merge.as_ref() {
                Node::Sequence(items) => items.as_slice(),
                Node::Scalar { .. } | Node::Mapping(_) => single,
            };
            for source in sources {
                self.burn()?;
                let Node::Mapping(inherited) = source.as_ref() else { continue };
                for (name, value) in self.members(inherited)? {
                    if !places.contains_key(name) {
                        places.insert(name, members.len());
                        members.push((name, value));
                    }
                }
            }
        }
        Ok(members)
    }

    /// Appends a node as JSON without white space.
    fn write(&mut self, node: &Node) -> Result<(), LeafError> {
        self.burn()?;
        match node {
            Node::Scalar { text, is_string: true } => self.write_string(text)?,
            Node::Scalar { text, is_string: false } if is_null(text) => self.output.push_str("null"),
            Node::Scalar { text, is_string: false } => match text.as_str() {
                "true" | "True" | "TRUE" => self.output.push_str("true"),
                "false" | "False" | "FALSE" => self.output.push_str("false"),
                number if is_json_number(number) => self.output.push_str(number),
                // What JSON cannot write as it stands (0x1f, .5, +1, dates) keeps its text in quotes.
                other => self.write_string(other)?,
            },
            Node::Sequence(items) => {
                self.output.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.output.push(',');
                    }
                    self.write(item)?;
                }
                self.output.push(']');
            }
            Node::Mapping(own) => {
                self.output.push('{');
                for (index, (name, value)) in self.members(own)?.into_iter().enumerate() {
                    if index > 0 {
                        self.output.push(',');
                    }
                    self.write_string(name)?;
                    self.output.push(':');
                    self.write(value)?;
                }
                self.output.push('}');
            }
        }
        match self.output.len() > MAX_BYTES {
            true => Err(LeafError::TooLarge),
            false => Ok(()),
        }
    }

    fn write_string(&mut self, text: &str) -> Result<(), LeafError> {
        self.output.push_str(&quoted(text)?);
        Ok(())
    }
}

/// `null` in YAML's core schema.
fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}
