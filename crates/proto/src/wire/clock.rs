//! Clock: whose time a node goes by, and how it gets from its own clock to it (`docs/protocol.md` § 6.16).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+---------------+---------------+
//! |     flags     |   priority    |     hops      | reserved, 0   |
//! +---------------+---------------+---------------+---------------+
//! |                           term, u32                           |
//! +---------------------------------------------------------------+
//! |                         timeline, u64                         |
//! |                                                               |
//! +---------------------------------------------------------------+
//! |                   leader, the id of a node …                  |  32 bytes
//! +---------------------------------------------------------------+
//! |                 stability, u32, parts of 2^-40                |
//! +---------------------------------------------------------------+
//! |                    rate, i32, parts of 2^-40                  |
//! +---------------------------------------------------------------+
//! |                  local, i64 ns of the sender's clock          |
//! |                                                               |
//! +---------------------------------------------------------------+
//! |                  mesh, i64 ns since the timeline began        |
//! |                                                               |
//! +---------------------------------------------------------------+
//! |                        deviation, u32 ns                      |
//! +---------------------------------------------------------------+
//! |                          bound, u32 ns                        |
//! +---------------------------------------------------------------+
//!
//! flags    bit 0 locked · bit 1 does not trust its leader's clock · others reserved, zero
//! ```

use super::{Reader, WireError, Writer};
use crate::control::clock::map::TimeMap;
use crate::id::NodeId;
use crate::time::{LocalTime, MeshTime};

/// Parts of one in a rate.
const PARTS: f64 = (1u64 << 40) as f64;

const FLAG_LOCKED: u8 = 1 << 0;
const FLAG_DOUBTS: u8 = 1 << 1;

/// The most hops from the leader that a node may say it is away.
pub const HOPS_MAX: u8 = 8;

/// Whose time a node goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClockWord {
    /// Whether its clock is only turned from now on, and does not step.
    pub locked: bool,
    /// Whether it takes its leader's clock for wrong.
    pub doubts: bool,
    /// How gladly it leads, as its user has it.
    pub priority: u8,
    /// How far it is from the leader: 0 is the leader itself, at most [`HOPS_MAX`].
    pub hops: u8,
    /// How often the timeline had another leader before.
    pub term: u32,
    /// Which timeline: drawn by whoever began it.
    pub timeline: u64,
    /// Who leads it.
    pub leader: NodeId,
    /// How much its rate against the others changes, in parts of 2⁻⁴⁰.
    pub stability: u32,
    /// How much faster the mesh's clock runs than the sender's, in parts of 2⁻⁴⁰.
    pub rate: i32,
    /// A moment of the sender's clock…
    pub local: LocalTime,
    /// …and the same of the mesh's.
    pub mesh: MeshTime,
    /// The standard deviation of that, in nanoseconds.
    pub deviation_ns: u32,
    /// What that is wrong by at most, in nanoseconds.
    pub bound_ns: u32,
}

impl ClockWord {
    /// Bytes of the payload.
    pub const LEN: usize = 80;

    /// From the sender's clock to the mesh's.
    #[must_use]
    pub fn map(&self) -> TimeMap {
        let rate = f64::from(self.rate) / PARTS;
        TimeMap { local: self.local, mesh: self.mesh, rate }
    }

    /// A rate as it is sent: what is beyond ±1,953 ppm is cut to that.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // saturates
    pub fn parts_of(rate: f64) -> i32 {
        (rate * PARTS).round() as i32
    }

    /// How uneven a clock is, as it is sent: below 0 is 0, above 3,906 ppm is that.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
    pub fn parts_of_stability(deviation: f64) -> u32 {
        (deviation * PARTS).round() as u32
    }

    /// Appends the payload.
    ///
    /// # Errors
    /// When it is too far from the leader, or there is no room.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.put_u8(flag(self.locked, FLAG_LOCKED) | flag(self.doubts, FLAG_DOUBTS))?;
        out.put_u8(self.priority)?;
        out.put_u8(checked_hops(self.hops)?)?;
        out.put_u8(0)?;
        out.put_u32(self.term)?;
        out.put_u64(self.timeline)?;
        out.put(&self.leader.0)?;
        out.put_u32(self.stability)?;
        out.put_i32(self.rate)?;
        out.put_i64(self.local.as_ns())?;
        out.put_i64(self.mesh.as_ns())?;
        out.put_u32(self.deviation_ns)?;
        out.put_u32(self.bound_ns)
    }

    /// Reads a whole payload.
    ///
    /// # Errors
    /// When it is not [`Self::LEN`] bytes long, is too far from the leader, or reserved bits are not zero.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload, "clock");
        let flags = r.u8()?;
        if flags & !(FLAG_LOCKED | FLAG_DOUBTS) != 0 {
            return Err(WireError::Reserved { reading: "clock flags" });
        }
        let (priority, hops) = (r.u8()?, checked_hops(r.u8()?)?);
        r.reserved::<1>()?;
        let word = Self {
            locked: flags & FLAG_LOCKED != 0,
            doubts: flags & FLAG_DOUBTS != 0,
            priority,
            hops,
            term: r.u32()?,
            timeline: r.u64()?,
            leader: NodeId(r.array()?),
            stability: r.u32()?,
            rate: r.i32()?,
            local: LocalTime::from_ns(r.i64()?),
            mesh: MeshTime::from_ns(r.i64()?),
            deviation_ns: r.u32()?,
            bound_ns: r.u32()?,
        };
        r.finish()?;
        Ok(word)
    }
}

const fn checked_hops(hops: u8) -> Result<u8, WireError> {
    if hops > HOPS_MAX {
        return Err(WireError::Value { reading: "hops from the leader", found: hops as u64 });
    }
    Ok(hops)
}

const _: () = assert!(ClockWord::LEN == 4 + 4 + 8 + 32 + 4 * 2 + 8 * 2 + 4 * 2);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Message;
    use super::super::testing::{check_message, round_trip};
    use super::*;

    #[test]
    fn the_vectors_hold_both_ways() {
        let word = ClockWord {
            locked: true,
            doubts: false,
            priority: 7,
            hops: 1,
            term: 3,
            timeline: 0x0123_4567_89AB_CDEF,
            leader: NodeId([0xAB; 32]),
            stability: 1_100,
            rate: -109_951_163,
            local: LocalTime::from_ns(1_000_000_000),
            mesh: MeshTime::from_ns(-1),
            deviation_ns: 20_000,
            bound_ns: 1_000_000,
        };
        check_message(
            &Message::Clock(word),
            "01 07 01 00           # locked; priority 7; follows the leader itself
             0000 0003             # the third term
             0123 4567 89ab cdef   # timeline
             abababab abababab abababab abababab abababab abababab abababab abababab  # leader
             0000 044c             # stability: a billionth
             f972 4745             # rate: 100 ppm slower
             0000 0000 3b9a ca00   # local: 1 s
             ffff ffff ffff ffff   # mesh: 1 ns before the timeline began
             0000 4e20 000f 4240   # to 20 us, at most 1 ms",
        );
    }

    proptest! {
        #[test]
        fn every_word_comes_back(
            flags: (bool, bool),
            bytes: (u8, [u8; 32]),
            hops in 0..=HOPS_MAX,
            numbers: (u32, u64, u32, i32, i64, i64, u32, u32),
        ) {
            let (term, timeline, stability, rate, local, mesh, deviation_ns, bound_ns) = numbers;
            round_trip(&Message::Clock(ClockWord {
                locked: flags.0,
                doubts: flags.1,
                priority: bytes.0,
                hops,
                term,
                timeline,
                leader: NodeId(bytes.1),
                stability,
                rate,
                local: LocalTime::from_ns(local),
                mesh: MeshTime::from_ns(mesh),
                deviation_ns,
                bound_ns,
            }));
        }
    }
}
