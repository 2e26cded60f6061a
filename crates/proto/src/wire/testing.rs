//! What the tests of the wire share: vectors that read like the specification, and damage.

use core::fmt::Debug;

use super::{Message, WireError, Writer};

/// The bytes of a vector: hex digits grouped as one likes; `#` begins a comment that ends with the
/// line.
pub(crate) fn hex(vector: &str) -> Vec<u8> {
    let lines = vector.lines().map(|line| line.split('#').next().unwrap());
    let digits: Vec<char> = lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
}

/// Every beginning of `bytes`, `bytes` with every single bit flipped, and with a byte more.
pub(crate) fn damaged(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cut = (0..bytes.len()).map(|end| bytes[..end].to_vec());
    let flipped = (0..8 * bytes.len()).map(|bit| {
        let mut copy = bytes.to_vec();
        copy[bit / 8] ^= 1 << (bit % 8);
        copy
    });
    cut.chain(flipped).chain(core::iter::once([bytes, &[0]].concat()))
}

/// What `encode` writes, given room for 70,000 bytes.
pub(crate) fn written(
    encode: impl FnOnce(&mut Writer<'_>) -> Result<(), WireError>,
) -> Result<Vec<u8>, WireError> {
    let mut buf = vec![0xAA; 70_000];
    let mut out = Writer::new(&mut buf);
    encode(&mut out)?;
    Ok(out.written().to_vec())
}

/// Checks a field's value against its vector, both ways, and everything near the vector.
pub(crate) fn check_value<T: PartialEq + Debug>(
    value: &T,
    vector: &str,
    encode: impl Fn(&T, &mut Writer<'_>) -> Result<(), WireError>,
    decode: impl Fn(&[u8]) -> Result<T, WireError>,
) {
    let bytes = hex(vector);
    assert_eq!(written(|out| encode(value, out)).unwrap(), bytes);
    assert_eq!(decode(&bytes).as_ref(), Ok(value));
    for other in damaged(&bytes) {
        if let Ok(decoded) = decode(&other) {
            let again = written(|out| encode(&decoded, out)).unwrap();
            assert_eq!(decode(&again), Ok(decoded), "from {other:02x?}");
        }
    }
}

/// Checks a message against its vector, both ways, and everything near the vector.
pub(crate) fn check_message(message: &Message<'_>, vector: &str) {
    let bytes = hex(vector);
    let kind = message.kind().to_wire();
    assert_eq!(written(|out| message.encode(out)).unwrap(), bytes);
    assert_eq!(Message::decode(kind, &bytes), Ok(Some(message.clone())));
    round_trip(message);
    for other in damaged(&bytes) {
        if let Ok(decoded) = Message::decode(kind, &other) {
            round_trip(&decoded.unwrap());
        }
    }
}

/// Checks that a message comes back as it went, and that too little room is an error.
pub(crate) fn round_trip(message: &Message<'_>) {
    let bytes = written(|out| message.encode(out)).unwrap();
    assert_eq!(bytes.len(), message.encoded_len());
    let decoded = Message::decode(message.kind().to_wire(), &bytes);
    assert_eq!(decoded.as_ref(), Ok(&Some(message.clone())));
    for room in (0..bytes.len()).step_by(1 + bytes.len() / 64) {
        let mut buf = vec![0; room];
        let result = message.encode(&mut Writer::new(&mut buf));
        assert!(matches!(result, Err(WireError::Full { .. })), "{room} bytes: {result:?}");
    }
}
