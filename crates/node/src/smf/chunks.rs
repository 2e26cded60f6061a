//! The chunks of a file: RIFF around it, the header, and where each track stands.
//!
//! Done here and not by `midly`, whose errors do not say where.

use midly::Fps;

use super::error::{Chunk, Fault};

/// A fault and the byte where it is.
pub(super) type Located = (usize, Fault);

/// How the tracks lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 0: one track holds everything.
    Single,
    /// 1: the tracks sound together.
    Together,
    /// 2: each track is a piece of its own; they are played one after the other.
    InTurn,
}

/// What a tick is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Division {
    /// A fraction of a beat, whose length the tempo gives.
    PerBeat(u16),
    /// A fraction of a SMPTE frame, whatever the tempo.
    PerFrame(Fps, u8),
}

/// The header and the bytes of the tracks.
pub(super) struct Chunks<'a> {
    pub(super) format: Format,
    pub(super) division: Division,
    pub(super) tracks: Vec<TrackBytes<'a>>,
}

/// The bytes of one track, without the chunk's own eight.
pub(super) struct TrackBytes<'a> {
    /// Where they begin in the file.
    pub(super) offset: usize,
    pub(super) bytes: &'a [u8],
    /// Whether the track ends where a chunk or the end of the file stands, so that its length can be
    /// trusted. Without an end mark such a track is whole; any other has lost its rest.
    pub(super) closed: bool,
}

/// Finds header and tracks in the bytes of a whole file.
pub(super) fn split(file: &[u8]) -> Result<Chunks<'_>, Located> {
    let mut reader = open(file)?;
    let (format, declared, division) = header(&mut reader)?;
    let mut tracks = Vec::new();
    while tracks.len() < usize::from(declared) {
        let found = u16::try_from(tracks.len()).unwrap_or(u16::MAX);
        if let Some(track) = next_track(&mut reader, declared, found)? {
            tracks.push(track);
        }
    }
    no_more_tracks(reader, declared)?;
    Ok(Chunks { format, division, tracks })
}

/// A walk over the file (or the part of it inside RIFF) that always knows where it is.
#[derive(Clone, Copy)]
struct Reader<'a> {
    file: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.file[self.at..self.end]
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.rest().get(..count)?;
        self.at += count;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// A chunk's kind and length; `None` when the file ends within them.
    fn chunk(&mut self) -> Option<([u8; 4], u32)> {
        Some((self.array()?, self.array().map(u32::from_be_bytes)?))
    }

    /// The bytes of a chunk whose beginning stands at `begin`.
    fn body(&mut self, begin: usize, what: Chunk, length: u32) -> Result<&'a [u8], Located> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let available = self.rest().len();
        self.take(length).ok_or((begin, Fault::ChunkTooLong { what, length, available }))
    }
}

/// Steps inside RIFF, if there is any.
fn open(file: &[u8]) -> Result<Reader<'_>, Located> {
    let mut reader = Reader { file, at: 0, end: file.len() };
    match file.get(..4) {
        Some(b"MThd") => Ok(reader),
        Some(b"RIFF") => {
            reader.at = 8;
            if file.len() < 12 {
                return Err((file.len(), Fault::HeaderCut));
            }
            if reader.take(4) != Some(b"RMID") {
                return Err((8, Fault::NotRmid));
            }
            find_data(reader)
        }
        _ if file.is_empty() => Err((0, Fault::Empty)),
        _ if b"MThd".starts_with(file) || b"RIFF".starts_with(file) => {
            Err((file.len(), Fault::HeaderCut))
        }
        _ => Err((0, Fault::NotMidi)),
    }
}

/// Walks the chunks of RIFF, whose lengths are little-endian and whose bodies are padded to even
/// length, up to the one that holds the MIDI file. RIFF's own length is of no use and not believed.
fn find_data(mut reader: Reader<'_>) -> Result<Reader<'_>, Located> {
    loop {
        let begin = reader.at;
        if reader.rest().is_empty() {
            return Err((begin, Fault::NotRmid));
        }
        let Some((kind, length)) = reader.chunk() else {
            return Err((begin, Fault::HeaderCut));
        };
        let what = if &kind == b"data" { Chunk::Data } else { Chunk::Other };
        let inside = reader.at;
        let body = reader.body(begin, what, length.swap_bytes())?;
        if what == Chunk::Data {
            if !body.starts_with(b"MThd") {
                return Err((inside, Fault::NotMidi));
            }
            return Ok(Reader { at: inside, end: reader.at, ..reader });
        }
        if body.len() % 2 == 1 {
            reader.take(1);
        }
    }
}

/// The header: format, number of tracks, division. Bytes beyond the sixth are of later versions of
/// the standard and skipped, as it asks.
fn header(reader: &mut Reader<'_>) -> Result<(Format, u16, Division), Located> {
    let begin = reader.at;
    let cut = |reader: &Reader<'_>| (reader.end, Fault::HeaderCut);
    let Some((_, length)) = reader.chunk() else { return Err(cut(reader)) };
    if length < 6 {
        return Err((begin + 4, Fault::HeaderShort { length }));
    }
    let inside = reader.at;
    if reader.rest().len() < 6 {
        return Err(cut(reader));
    }
    let mut body = *reader;
    reader.body(begin, Chunk::Header, length)?;
    let (Some(format), Some(declared), Some([high, low])) =
        (body.u16(), body.u16(), body.array::<2>())
    else {
        return Err(cut(reader));
    };
    let format = match format {
        0 => Format::Single,
        1 => Format::Together,
        2 => Format::InTurn,
        _ => return Err((inside, Fault::UnknownFormat { format })),
    };
    if declared == 0 {
        return Err((inside + 2, Fault::NoTracks));
    }
    let division = division(high, low).map_err(|fault| (inside + 4, fault))?;
    Ok((format, declared, division))
}

fn division(high: u8, low: u8) -> Result<Division, Fault> {
    if high < 0x80 {
        return match u16::from_be_bytes([high, low]) {
            0 => Err(Fault::DivisionZero),
            ticks => Ok(Division::PerBeat(ticks)),
        };
    }
    // The high byte is the frame rate as a negative number: E7 is −25.
    let frames = high.wrapping_neg();
    match Fps::from_int(frames) {
        None => Err(Fault::UnknownFrameRate { frames }),
        Some(_) if low == 0 => Err(Fault::DivisionZero),
        Some(rate) => Ok(Division::PerFrame(rate, low)),
    }
}

/// The next chunk, if it is a track; `None` when it was another one, which is skipped.
fn next_track<'a>(
    reader: &mut Reader<'a>,
    declared: u16,
    found: u16,
) -> Result<Option<TrackBytes<'a>>, Located> {
    let begin = reader.at;
    let track = found.saturating_add(1);
    if reader.rest().is_empty() {
        return Err((begin, Fault::TracksMissing { declared, found }));
    }
    let Some((kind, length)) = reader.chunk() else {
        return Err((begin, Fault::ChunkHeaderCut { track }));
    };
    match &kind {
        b"MTrk" => {}
        b"MThd" => return Err((begin, Fault::HeaderTwice { track })),
        // Kinds are four letters; anything else means that we lost our way.
        kind if !is_kind(kind) => return Err((begin, Fault::NotAChunk { track })),
        _ => {
            reader.body(begin, Chunk::Other, length)?;
            return Ok(None);
        }
    }
    let offset = reader.at;
    let bytes = reader.body(begin, Chunk::Track(track), length)?;
    let rest = reader.rest();
    let closed = rest.is_empty() || rest.first_chunk().is_some_and(is_kind);
    Ok(Some(TrackBytes { offset, bytes, closed }))
}

/// After the last track anything may follow, but not a further track: then the count is wrong, and
/// to leave music out is worse than to say so.
fn no_more_tracks(mut reader: Reader<'_>, declared: u16) -> Result<(), Located> {
    loop {
        let begin = reader.at;
        match reader.chunk() {
            Some((kind, _)) if &kind == b"MTrk" => {
                return Err((begin, Fault::TracksTooMany { declared }));
            }
            Some((kind, length)) if is_kind(&kind) => {
                if reader.body(begin, Chunk::Other, length).is_err() {
                    return Ok(());
                }
            }
            _ => return Ok(()),
        }
    }
}

/// Whether four bytes look like the kind of a chunk.
fn is_kind(bytes: &[u8; 4]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
}
