//! How are frames written to a file and read back?

use std::io::{Read, Write};

use async_trait::async_trait;
use stepmark_core::capability::Carried;
use stepmark_core::id::{BlobHash, ThreadUid};
use stepmark_core::rows::ThreadRow;
use stepmark_core::wire::{Reader, WireError};

use crate::error::{Error, Result};
use crate::frame::{BODY_BYTES_MAX, CHECK_BYTES, Check, FILE_VERSION, Frame, MAGIC, check, first_check, header};
use crate::send::{Part, Sink};

/// How many bytes of a blob lie in one frame.
const PART_BYTES: usize = 1024 * 1024;

/// A thread that takes more than so many bytes is written before it is known whether it moved meanwhile.
const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A file that is written.
pub(crate) struct FileWriter<'a> {
    out: &'a mut (dyn Write + Send),
    thread: ThreadUid,
    check: Check,
    /// The frames of the newest thread, as long as they can be taken back, and the check before them.
    held: Option<(Vec<u8>, Check)>,
}

impl<'a> FileWriter<'a> {
    pub(crate) fn begin(out: &'a mut (dyn Write + Send)) -> Result<Self> {
        out.write_all(&MAGIC)?;
        out.write_all(&[FILE_VERSION])?;
        Ok(Self { out, thread: ThreadUid([0; 16]), check: first_check(FILE_VERSION), held: None })
    }

    fn write(&mut self, frame: &Frame) -> Result<()> {
        let (kind, body) = frame.encode(self.thread);
        let header = header(kind, body.len());
        self.check = check(self.check, &header, &body);
        for bytes in [&header[..], &body, &self.check] {
            match &mut self.held {
                Some((held, _)) => held.extend_from_slice(bytes),
                None => self.out.write_all(bytes)?,
            }
        }
        match &self.held {
            Some((held, _)) if held.len() > HELD_BYTES_MAX => self.let_go(),
            _ => Ok(()),
        }
    }

    fn let_go(&mut self) -> Result<()> {
        if let Some((held, _)) = self.held.take() {
            self.out.write_all(&held)?;
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for FileWriter<'_> {
    async fn begin_thread(&mut self, thread: &ThreadRow, carried: &Carried) -> Result<()> {
        self.thread = thread.uid;
        self.held = Some((Vec::new(), self.check));
        self.write(&Frame::Thread(thread.clone(), carried.clone()))
    }

    async fn take(&mut self, part: Part) -> Result<()> {
        match part {
            Part::Blob(hash, bytes) => {
                let length = bytes.len() as u64;
                // An empty blob has a frame, too.
                let parts = bytes.chunks(PART_BYTES).map(<[u8]>::to_vec).chain(bytes.is_empty().then(Vec::new));
                parts.into_iter().try_for_each(|part| self.write(&Frame::Blob { hash, length, part }))
            }
            Part::Rows(rows) => self.write(&Frame::Rows(rows)),
            Part::Items(items) => self.write(&Frame::Items(items)),
            Part::Whole(tally) => {
                self.write(&Frame::Whole(tally))?;
                self.let_go()
            }
        }
    }

    async fn take_back(&mut self) -> Result<bool> {
        let Some((_, check)) = self.held.take() else { return Ok(false) };
        self.check = check;
        Ok(true)
    }

    async fn end(&mut self, threads: u64) -> Result<()> {
        self.write(&Frame::End(threads))?;
        Ok(self.out.flush()?)
    }
}

/// A file that is read.
pub(crate) struct FileReader<'a> {
    input: &'a mut (dyn Read + Send),
    thread: ThreadUid,
    check: Check,
    /// Where the next byte lies.
    offset: u64,
    /// Where the newest frame began, and its number.
    begun: u64,
    frame: u64,
}

impl<'a> FileReader<'a> {
    pub(crate) fn begin(input: &'a mut (dyn Read + Send)) -> Result<Self> {
        let thread = ThreadUid([0; 16]);
        let mut file = Self { input, thread, check: first_check(FILE_VERSION), offset: 0, begun: 0, frame: 0 };
        let mut magic = [0; 8];
        let read = file.read_some(&mut magic)?;
        if magic[..read] != MAGIC[..read] {
            return Err(Error::NotAFile);
        }
        if read < magic.len() {
            return Err(file.cut());
        }
        match file.byte()? {
            version @ 1..=FILE_VERSION => {
                file.check = first_check(version);
                Ok(file)
            }
            version => Err(Error::UnknownVersion(version)),
        }
    }

    /// The next frame; nothing follows an end.
    pub(crate) fn next(&mut self) -> Result<Frame> {
        self.begun = self.offset;
        let kind = self.byte()?;
        let length = self.length()?;
        let body = self.bytes(length)?;
        let header = header(kind, body.len());
        let now = check(self.check, &header, &body);
        if self.bytes(CHECK_BYTES as u64)? != now {
            return Err(self.damaged("its check does not match"));
        }
        self.check = now;
        let frame = Frame::decode(kind, &body, self.thread).map_err(|error| self.damaged(error.to_string()))?;
        if let Frame::Thread(thread, _) = &frame {
            self.thread = thread.uid;
        }
        if matches!(frame, Frame::End(_)) && self.read_some(&mut [0])? > 0 {
            return Err(self.damaged("bytes follow the end"));
        }
        self.frame += 1;
        Ok(frame)
    }

    /// A refusal of the newest frame.
    pub(crate) fn damaged(&self, reason: impl Into<String>) -> Error {
        Error::Damaged { offset: self.begun, frame: self.frame, reason: reason.into() }
    }

    fn cut(&self) -> Error {
        Error::Cut { offset: self.offset, frame: self.frame }
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        if self.read_some(&mut byte)? == 0 { Err(self.cut()) } else { Ok(byte[0]) }
    }

    fn length(&mut self) -> Result<u64> {
        let mut bytes = Vec::new();
        loop {
            bytes.push(self.byte()?);
            match Reader::new(&bytes).varint() {
                Ok(length) if length <= BODY_BYTES_MAX => return Ok(length),
                Ok(_) => return Err(self.damaged("its length is beyond that of any frame")),
                Err(WireError::Truncated) => {}
                Err(error) => return Err(self.damaged(error.to_string())),
            }
        }
    }

    fn bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.offset += Read::take(&mut *self.input, length).read_to_end(&mut bytes)? as u64;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(self.cut()) }
    }

    /// Fills `bytes` as far as the file goes.
    fn read_some(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let mut read = 0;
        while read < bytes.len() {
            match self.input.read(&mut bytes[read..]) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.offset += read as u64;
        Ok(read)
    }
}

/// A blob whose parts come one after another.
#[derive(Default)]
pub(crate) struct Assembly {
    blob: Option<(BlobHash, u64, Vec<u8>)>,
}

impl Assembly {
    /// Adds a part; answers with the blob once it is whole. An error says what is wrong.
    pub(crate) fn add(&mut self, hash: BlobHash, length: u64, part: Vec<u8>) -> Result<Option<Vec<u8>>, &'static str> {
        let bytes = match self.blob.take() {
            Some((before, whole, mut bytes)) if (before, whole) == (hash, length) => {
                bytes.extend_from_slice(&part);
                bytes
            }
            Some(_) => return Err("a blob begins before another is whole"),
            None => part,
        };
        if (bytes.len() as u64) < length {
            self.blob = Some((hash, length, bytes));
            return Ok(None);
        }
        if BlobHash::of(&bytes) == hash { Ok(Some(bytes)) } else { Err("the bytes of a blob do not have its hash") }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.blob.is_none()
    }
}
