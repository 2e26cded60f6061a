//! What the switch reads of an Ethernet frame, and the one thing it changes: UDP ports, as a NAT does.

/// What a frame carries, as far as impairments tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Housekeeping of the network itself: ARP, IGMP, and of ICMPv6 all but echo.
    Control,
    Udp,
    Tcp,
    Other,
}

/// Says what a frame carries. A fragment after the first counts as what its header says.
pub fn carries(f: &[u8]) -> Carries {
    match (f.get(12..14), f.get(23), f.get(20)) {
        (Some([0x08, 0x06]), _, _) => Carries::Control,
        (Some([0x08, 0x00]), Some(2), _) => Carries::Control,
        (Some([0x08, 0x00]), Some(17), _) | (Some([0x86, 0xDD]), _, Some(17)) => Carries::Udp,
        (Some([0x08, 0x00]), Some(6), _) | (Some([0x86, 0xDD]), _, Some(6)) => Carries::Tcp,
        // Hop-by-hop: MLD.
        (Some([0x86, 0xDD]), _, Some(0)) => Carries::Control,
        (Some([0x86, 0xDD]), _, Some(58)) if !matches!(f.get(54), Some(128 | 129)) => {
            Carries::Control
        }
        _ => Carries::Other,
    }
}

/// Which of a datagram's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Source,
    Destination,
}

/// Adds to a UDP port (wrapping), and mends the checksum by the difference (RFC 1624). Other frames,
/// and fragments, stay as they are.
pub fn shift_port(f: &mut [u8], port: Port, by: u16) {
    let udp = match f.get(12..15) {
        Some([0x08, 0x00, version]) if f.get(23) == Some(&17) => {
            if f.get(20..22).is_none_or(|o| o[0] & 0x3F != 0 || o[1] != 0) {
                return;
            }
            14 + usize::from(version & 0x0F) * 4
        }
        Some([0x86, 0xDD, _]) if f.get(20) == Some(&17) => 54,
        _ => return,
    };
    let at = udp + if port == Port::Source { 0 } else { 2 };
    if f.len() < udp + 8 {
        return;
    }
    let old = u16::from_be_bytes([f[at], f[at + 1]]);
    let new = old.wrapping_add(by);
    f[at..at + 2].copy_from_slice(&new.to_be_bytes());
    let sum = u16::from_be_bytes([f[udp + 6], f[udp + 7]]);
    if sum != 0 {
        let mut total = u32::from(!sum) + u32::from(!old) + u32::from(new);
        while total > 0xFFFF {
            total = (total & 0xFFFF) + (total >> 16);
        }
        let mended = match !(total as u16) {
            // Zero would mean that there is none.
            0 => 0xFFFF,
            other => other,
        };
        f[udp + 6..udp + 8].copy_from_slice(&mended.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A datagram from 10.77.0.1:5004 to 10.77.0.2:5005 with a good checksum.
    fn datagram(payload: &[u8]) -> Vec<u8> {
        let length = (8 + payload.len()) as u16;
        let mut f = vec![0; 34];
        f[12..15].copy_from_slice(&[8, 0, 0x45]);
        f[23] = 17;
        f[26..34].copy_from_slice(&[10, 77, 0, 1, 10, 77, 0, 2]);
        f.extend([5004_u16, 5005, length, 0].iter().flat_map(|n| n.to_be_bytes()));
        f.extend(payload);
        let sum = !sum_of(&f);
        f[40..42].copy_from_slice(&sum.to_be_bytes());
        f
    }

    /// The sum that a receiver makes: FFFF when the checksum is right.
    fn sum_of(f: &[u8]) -> u16 {
        let length = (f.len() - 34) as u32;
        let words = |part: &[u8]| -> u32 {
            part.chunks(2)
                .map(|c| u32::from(c[0]) << 8 | c.get(1).map_or(0, |b| u32::from(*b)))
                .sum()
        };
        let mut total = words(&f[26..34]) + 17 + length + words(&f[34..]);
        while total > 0xFFFF {
            total = (total & 0xFFFF) + (total >> 16);
        }
        total as u16
    }

    #[test]
    fn a_shifted_port_has_a_good_checksum_and_comes_back() {
        for by in [0, 1, 1000, 40_000, 65_535] {
            for port in [Port::Source, Port::Destination] {
                let whole = datagram(b"a note of odd length");
                let mut shifted = whole.clone();
                shift_port(&mut shifted, port, by);
                assert_eq!(sum_of(&shifted), 0xFFFF, "{port:?} by {by}");
                assert_eq!(shifted == whole, by == 0);
                shift_port(&mut shifted, port, 0_u16.wrapping_sub(by));
                assert_eq!(shifted, whole);
            }
        }
    }

    #[test]
    fn other_frames_stay_and_short_ones_do_no_harm() {
        let mut tcp = datagram(b"x");
        tcp[23] = 6;
        assert_eq!((carries(&tcp), carries(&datagram(b""))), (Carries::Tcp, Carries::Udp));
        let before = tcp.clone();
        shift_port(&mut tcp, Port::Source, 7);
        assert_eq!(tcp, before);
        for length in 0..datagram(b"x").len() - 1 {
            let mut cut = datagram(b"x")[..length].to_vec();
            shift_port(&mut cut, Port::Source, 7);
            carries(&cut);
        }
    }
}
