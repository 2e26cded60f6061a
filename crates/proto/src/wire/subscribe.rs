//! Subscribe: which sources are wanted (`docs/protocol.md` § 6.4).
//!
//! It acknowledges a version of the peer's device list and says, in whole, which of its sources are to
//! be sent from now on; what is not in it is no longer wanted.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |     devices version, u32: of the list that this answers       |
//! +-------------------------------+-------------------------------+
//! |  count, u16: 0 to 512         |  reserved, zero               |
//! +-------------------------------+-------------------------------+
//! |  port, u16                    |  … count of them              |
//! +-------------------------------+-------------------------------+
//! ```

use super::{Reader, WireError, Writer, within};
use crate::id::PortId;

/// The most ports in one subscription.
pub const PORTS_MAX: usize = super::devices::PORTS_MAX;

/// Which sources are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subscribe {
    /// The version of the device list that this answers.
    pub devices_version: u32,
    /// The peer's sources that it shall send, all of them; at most [`PORTS_MAX`], none of them 0.
    pub ports: Vec<PortId>,
}

impl Subscribe {
    /// Bytes in front of the ports.
    pub const FIXED_LEN: usize = 8;

    /// Bytes that [`Self::encode`] writes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        Self::FIXED_LEN + 2 * self.ports.len()
    }

    /// Appends the payload.
    ///
    /// # Errors
    /// When there are too many ports or one of them is 0, or there is no room.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        out.put_u32(self.devices_version)?;
        super::devices::put_count(self.ports.len(), "subscribed ports", out)?;
        out.put_u16(0)?;
        self.ports.iter().try_for_each(|&port| out.put_u16(super::devices::checked_id(port)?.0))
    }

    /// Reads a whole payload.
    ///
    /// # Errors
    /// When it is cut off or too long, has too many ports, a port is 0, or reserved bytes are not.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload, "subscribe");
        let devices_version = r.u32()?;
        let count = within(usize::from(r.u16()?), PORTS_MAX, "subscribed ports")?;
        r.reserved::<2>()?;
        let ports = (0..count)
            .map(|_| super::devices::checked_id(PortId(r.u16()?)))
            .collect::<Result<_, _>>()?;
        r.finish()?;
        Ok(Self { devices_version, ports })
    }
}

const _: () = assert!(Subscribe::FIXED_LEN == 4 + 2 + 2);
const _: () = assert!(Subscribe::FIXED_LEN + 2 * PORTS_MAX <= super::PAYLOAD_MAX);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Message;
    use super::super::testing::{check_message, round_trip, written};
    use super::*;

    #[test]
    fn the_vectors_hold_both_ways() {
        let ports = vec![PortId(1), PortId(258)];
        check_message(
            &Message::Subscribe(Subscribe { devices_version: 7, ports }),
            "0000 0007   # answers list 7
             0002 0000   # two ports
             0001 0102   # 1 and 258",
        );
        check_message(
            &Message::Subscribe(Subscribe { devices_version: 8, ports: Vec::new() }),
            "0000 0008   # answers list 8
             0000 0000   # nothing is wanted",
        );
    }

    #[test]
    fn limits_hold_both_ways() {
        let subscribe = |count| Subscribe { devices_version: 1, ports: vec![PortId(1); count] };
        round_trip(&Message::Subscribe(subscribe(PORTS_MAX)));
        assert!(written(|w| subscribe(PORTS_MAX + 1).encode(w)).is_err());
        let mut many = written(|w| subscribe(PORTS_MAX).encode(w)).unwrap();
        many.extend([0, 1]);
        many[4..6].copy_from_slice(&u16::try_from(PORTS_MAX + 1).unwrap().to_be_bytes());
        assert!(matches!(Subscribe::decode(&many), Err(WireError::Length { .. })));
        let none = Subscribe { devices_version: 1, ports: vec![PortId::NONE] };
        assert!(written(|w| none.encode(w)).is_err());
        assert!(Subscribe::decode(&[0, 0, 0, 1, 0, 1, 0, 0, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn every_value_comes_back(
            devices_version: u32,
            ports in proptest::collection::vec(1u16.., 0..=PORTS_MAX),
        ) {
            let ports = ports.into_iter().map(PortId).collect();
            round_trip(&Message::Subscribe(Subscribe { devices_version, ports }));
        }
    }
}
