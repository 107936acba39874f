//! The tail row: the transactions since the last flush, one vector each.

use transit::{Limits, Token, Writer};

use super::corrupt;
use super::decode::{DatomReader, Malformed};
use super::encode::write_datom;
use crate::attrs::Attrs;
use crate::datom::Datom;
use crate::error::Result;
use crate::storage::Row;

/// The tail's content, or that of a row of the journal: a vector of transactions, each a vector of datoms. None where it
/// would be longer than so many bytes: that is found without writing the rest out.
pub(crate) fn encode_tail(tail: &[Vec<Datom>], attrs: &Attrs, max_bytes: usize) -> Option<String> {
    let mut out = String::new();
    let mut writer = Writer::new(&mut out);
    writer.begin_vector();
    for transaction in tail {
        writer.begin_vector();
        for datom in transaction {
            write_datom(&mut writer, datom, attrs);
            if writer.text().len() > max_bytes {
                return None;
            }
        }
        writer.end_vector();
    }
    writer.end_vector();
    (out.len() <= max_bytes).then_some(out)
}

/// The transactions of a tail row.
pub(crate) fn decode_tail(row: &Row, attrs: &Attrs, limits: Limits) -> Result<Vec<Vec<Datom>>> {
    let mut reader = DatomReader::new(&row.content, attrs, limits);
    let mut tail = Vec::new();
    let mut read = || -> Result<(), Malformed> {
        reader.expect(|token| matches!(token, Token::ArrayStart))?;
        loop {
            match reader.next()? {
                Token::ArrayEnd => return Ok(()),
                Token::ArrayStart => {
                    let mut transaction = Vec::new();
                    while let Some(datom) = reader.datom()? {
                        transaction.push(datom);
                    }
                    tail.push(transaction);
                }
                _ => return Err(Malformed("a malformed transaction")),
            }
        }
    };
    read().and_then(|()| reader.finish()).map_err(|Malformed(reason)| corrupt(row.addr, reason))?;
    Ok(tail)
}
