//! Picks blocks out of a PEM bundle (RFC 7468). What stands between blocks is left out.

use super::Failure;
use super::output::Output;
use crate::api::transform::PemPart;
use crate::value::SecretValue;

/// One block with the lines that begin and end it.
struct Block<'a> {
    label: &'a str,
    lines: Vec<&'a str>,
}

impl Block<'_> {
    /// RFC 7468 section 5; the second label is what older tools wrote.
    fn is_certificate(&self) -> bool {
        matches!(self.label, "CERTIFICATE" | "X509 CERTIFICATE")
    }

    /// RFC 7468 sections 10 and 11, and the labels of the formats before: RSA, EC, DSA, OPENSSH.
    fn is_key(&self) -> bool {
        self.label == "PRIVATE KEY" || self.label.ends_with(" PRIVATE KEY")
    }
}

pub(super) fn part(text: &str, part: PemPart) -> Result<SecretValue, Failure> {
    let blocks = blocks(text)?;
    let certificates = blocks.iter().filter(|block| block.is_certificate());
    let wanted: Vec<&Block<'_>> = match part {
        PemPart::Cert => certificates.take(1).collect(),
        PemPart::Chain => certificates.skip(1).collect(),
        PemPart::FullChain => certificates.collect(),
        PemPart::Key => blocks.iter().filter(|block| block.is_key()).collect(),
    };
    match (part, wanted.len()) {
        (PemPart::Cert | PemPart::FullChain, 0) => return Err(Failure::unfit("has no certificate in PEM form")),
        (PemPart::Chain, 0) => return Err(Failure::unfit("has no second certificate in PEM form")),
        (PemPart::Key, 0) => return Err(Failure::unfit("has no private key in PEM form")),
        (PemPart::Key, 2..) => return Err(Failure::unfit("has several private keys")),
        (PemPart::Cert | PemPart::Chain | PemPart::FullChain | PemPart::Key, _) => {}
    }
    let mut output = Output::with_capacity(text.len());
    for line in wanted.iter().flat_map(|block| &block.lines) {
        output.push(line.as_bytes())?;
        output.push(b"\n")?;
    }
    Ok(output.into_value())
}

fn blocks(text: &str) -> Result<Vec<Block<'_>>, Failure> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Block<'_>)> = None;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let begin = offset;
        offset += line.len();
        let line = line.trim_ascii();
        let word = |start: &str| line.strip_prefix(start).and_then(|rest| rest.strip_suffix("-----"));
        match (&mut open, word("-----BEGIN "), word("-----END ")) {
            (Some(_), Some(_), _) => return Err(Failure::at(begin, "begins a PEM block inside another")),
            (None, _, Some(_)) => return Err(Failure::at(begin, "ends a PEM block that does not begin")),
            (None, Some(label), _) => open = Some((begin, Block { label, lines: vec![line] })),
            (None, None, None) => {}
            (Some((_, block)), None, Some(label)) if label != block.label => {
                return Err(Failure::at(begin, "ends a PEM block by another name"));
            }
            (Some((_, block)), None, end) => {
                block.lines.push(line);
                if end.is_some() {
                    blocks.extend(open.take().map(|(_, block)| block));
                }
            }
        }
    }
    match open {
        Some((begin, _)) => Err(Failure::at(begin, "has a PEM block without an end, which begins")),
        None => Ok(blocks),
    }
}
