//! Streams in pieces, as a network would deliver them.

use proptest::sample::Index;

/// Cuts a stream at these places.
pub(crate) fn cut<'a>(stream: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(stream.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut rest = stream;
    for place in places {
        let (piece, after) = rest.split_at(place - (stream.len() - rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}
