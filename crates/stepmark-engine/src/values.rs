//! How does a channel's change become a value node?
//!
//! Cost follows the change: an append writes its elements, an edit its window, a map its keys. Chains stay short by
//! tail merge and by rewriting the whole value when edits outgrow it. The rules are those of `docs/format.md`; the store
//! knows none of them.

use stepmark_core::store::Chain;
use stepmark_core::value::{ListMark, Structure, ValueAddress, ValueHead, ValueNode, ValueRef, chain_hash};
use stepmark_core::wire::Writer;

use crate::change::Change;
use crate::encode::{Body, EncodeError, Entries};
use crate::schema::{AnyState, Schema};
use crate::state::Shape;

/// An append of more bytes than this is a closed node; an open tail never holds more.
pub(crate) const TAIL_BYTES_MAX: usize = 32 * 1024;
/// An open tail holds fewer nodes than this.
pub(crate) const TAIL_NODES_MAX: u32 = 64;
/// What an edit counts at least, so that many small ones do not make a long chain of a large value.
const EDIT_BYTES_MIN: usize = 64;
/// An edit this close to the end of a list rewrites the end instead of splicing.
const CUT_ELEMENTS_MAX: usize = 64;

/// What a writer must know of a channel's stored chain to extend it without reading it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track {
    /// The newest node.
    pub(crate) newest: Option<ValueRef>,
    state_version: u32,
    /// Length and chained hash after the newest node of a list.
    length: u64,
    hash: Option<[u8; 16]>,
    /// The node under the open tail, and the list's length there.
    closed: Option<(ValueRef, u64)>,
    tail_nodes: u32,
    tail_bytes: usize,
    /// Bytes of the last full value, and of nodes since that replace parts of it.
    full_bytes: usize,
    edit_bytes: usize,
}

/// A node to write, and the track that it makes once it has its place.
pub(crate) struct NewNode {
    pub(crate) node: ValueNode,
    pub(crate) track: NewTrack,
}

/// The track of a node that has no place yet.
pub(crate) struct NewTrack {
    track: Track,
    closed: bool,
}

impl NewTrack {
    /// The track after the node was given its place.
    pub(crate) fn at(self, place: ValueRef) -> Track {
        let mut track = self.track;
        track.newest = Some(place);
        if self.closed {
            track.closed = Some((place, track.length));
            (track.tail_nodes, track.tail_bytes) = (0, 0);
        }
        track
    }
}

/// A state's channel, for the rules below.
pub(crate) struct ChannelValue<'a> {
    pub(crate) schema: &'a dyn Schema,
    pub(crate) state: &'a AnyState,
    pub(crate) channel: usize,
}

impl ChannelValue<'_> {
    fn shape(&self) -> Shape {
        self.schema.channels()[self.channel].shape
    }

    fn items(&self, from: u64, to: u64) -> Result<Body, EncodeError> {
        let mut body = Body::default();
        self.schema.encode_items(self.state, self.channel, from as usize..to as usize, &mut body)?;
        Ok(body)
    }

    /// The node that takes the stored value described by `track` to the present one.
    pub(crate) fn node(&self, track: &Track, change: &Change) -> Result<NewNode, EncodeError> {
        let Some(newest) = track.newest.filter(|_| track.state_version == self.schema.version()) else {
            return self.full();
        };
        match (self.shape(), change) {
            (Shape::List, Change::Edit { at, remove, insert }) => self.list_node(track, newest, *at, *remove, *insert),
            (Shape::Map, Change::Keys(keys)) => {
                let mut entries = Entries::default();
                self.schema.encode_entries(self.state, self.channel, keys, &mut entries)?;
                self.map_node(track, newest, &entries)
            }
            _ => self.full(),
        }
    }

    fn full(&self) -> Result<NewNode, EncodeError> {
        let mut body = Body::default();
        self.schema.encode_full(self.state, self.channel, &mut body)?;
        let mut track =
            Track { state_version: self.schema.version(), full_bytes: body.bytes.len(), ..Track::default() };
        if self.shape() == Shape::List {
            track.length = body.ends.len() as u64;
            let header = stepmark_core::materialise::array_header_bytes(track.length);
            track.hash = Some(extend_hash([0; 16], header, &body));
        }
        Ok(self.new_node(Structure::Full, true, track, body.bytes))
    }

    fn list_node(
        &self,
        track: &Track,
        newest: ValueRef,
        at: usize,
        remove: usize,
        insert: usize,
    ) -> Result<NewNode, EncodeError> {
        let length = self.schema.list_len(self.state, self.channel) as u64;
        let from = at as u64;
        if from == track.length && remove == 0 {
            return self.append_node(track, newest, length);
        }
        let cut = (track.length as usize).saturating_sub(at) <= CUT_ELEMENTS_MAX;
        let body = if cut { self.items(from, length)? } else { self.items(from, from + insert as u64)? };
        let edit_bytes = track.edit_bytes + body.bytes.len().max(EDIT_BYTES_MIN);
        if edit_bytes > track.full_bytes {
            return self.full();
        }
        let items = body.ends.len() as u64;
        let structure = if cut {
            Structure::List { base: newest, keep: from, items }
        } else {
            Structure::Splice { base: newest, at: from, remove: remove as u64, items }
        };
        let track = Track { length, hash: None, edit_bytes, ..track.clone() };
        Ok(self.new_node(structure, true, track, body.bytes))
    }

    fn append_node(&self, track: &Track, newest: ValueRef, length: u64) -> Result<NewNode, EncodeError> {
        let body = self.items(track.length, length)?;
        let bytes = body.bytes.len();
        let hash = track.hash.map(|hash| extend_hash(hash, 0, &body));
        let mut grown = Track { length, hash, full_bytes: track.full_bytes + bytes, ..track.clone() };
        let full_tail = track.tail_nodes + 1 >= TAIL_NODES_MAX || track.tail_bytes + bytes > TAIL_BYTES_MAX;
        match track.closed {
            Some((base, keep)) if full_tail && track.tail_nodes > 0 && bytes <= TAIL_BYTES_MAX => {
                let merged = self.items(keep, length)?;
                let structure = Structure::List { base, keep, items: length - keep };
                Ok(self.new_node(structure, true, grown, merged.bytes))
            }
            _ => {
                grown.tail_nodes += 1;
                grown.tail_bytes += bytes;
                let structure = Structure::List { base: newest, keep: track.length, items: length - track.length };
                Ok(self.new_node(structure, bytes > TAIL_BYTES_MAX, grown, body.bytes))
            }
        }
    }

    fn map_node(&self, track: &Track, newest: ValueRef, entries: &Entries) -> Result<NewNode, EncodeError> {
        let mut body = Writer::new();
        for (key, value) in &entries.set {
            body.bytes(key).bytes(value);
        }
        for key in &entries.removed {
            body.bytes(key);
        }
        let edit_bytes = track.edit_bytes + body.as_slice().len().max(EDIT_BYTES_MIN);
        if edit_bytes > track.full_bytes {
            return self.full();
        }
        let (set, removed) = (entries.set.len() as u64, entries.removed.len() as u64);
        let track = Track { edit_bytes, ..track.clone() };
        Ok(self.new_node(Structure::Map { base: newest, set, removed }, true, track, body.into_vec()))
    }

    fn new_node(&self, structure: Structure, closed: bool, track: Track, body: Vec<u8>) -> NewNode {
        let mark = ListMark { length: track.length, chain: track.hash };
        let list = (self.shape() == Shape::List).then_some(mark);
        let head = ValueHead { closed, list, ..ValueHead::new(structure, self.schema.version()) };
        NewNode { node: ValueNode { head, body }, track: NewTrack { track, closed } }
    }
}

/// Extends a chained hash by the elements of `body`, the first of which starts at `start`.
fn extend_hash(mut hash: [u8; 16], mut start: usize, body: &Body) -> [u8; 16] {
    for end in &body.ends {
        hash = chain_hash(hash, &body.bytes[start..*end as usize]);
        start = *end as usize;
    }
    hash
}

impl Track {
    /// A value that lies at `place` whole: a flushed write that the commit names.
    pub(crate) fn whole(place: ValueRef, state_version: u32) -> Self {
        Self { newest: Some(place), state_version, ..Self::default() }
    }

    /// What a loaded chain, newest node first, says.
    pub(crate) fn of_chain(newest: ValueRef, chain: &Chain) -> Self {
        let mut track = Self { newest: Some(newest), ..Self::default() };
        let Some((_, head)) = chain.nodes.first() else { return track };
        track.state_version = head.head.state_version;
        if let Some(list) = head.head.list {
            (track.length, track.hash) = (list.length, list.chain);
        }
        for (index, (_, node)) in chain.nodes.iter().enumerate() {
            track.count(node, chain.nodes.get(index + 1));
        }
        track.find_tail(newest, chain);
        track
    }

    /// Adds one node's bytes to what they count as.
    fn count(&mut self, node: &ValueNode, base: Option<&(ValueAddress, ValueNode)>) {
        let below = base.and_then(|(_, base)| base.head.list).map_or(0, |list| list.length);
        match node.head.structure {
            Structure::List { keep, .. } if keep >= below => self.full_bytes += node.body.len(),
            Structure::Full => self.full_bytes += node.body.len(),
            Structure::List { .. } | Structure::Splice { .. } | Structure::Map { .. } => {
                self.edit_bytes += node.body.len().max(EDIT_BYTES_MIN);
            }
        }
    }

    fn find_tail(&mut self, newest: ValueRef, chain: &Chain) {
        let mut place = Some(newest);
        for (_, node) in &chain.nodes {
            if node.head.closed {
                self.closed = place.zip(node.head.list.map(|list| list.length));
                return;
            }
            self.tail_nodes += 1;
            self.tail_bytes += node.body.len();
            place = node.head.structure.base();
        }
    }
}
