//! What is made of every other record, and of it again?
//!
//! Nothing without keys: only values are compressed. With keys, the second part of a manifest, the bodies of pending rows
//! and the results of effects are sealed; hashes that a store compares are blinded.

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::coding::{ManifestParts, join_manifest};
use stepmark_core::effect::{EffectEnd, EffectEntry, EffectIntent, EffectOutcome, EffectReply, EffectRow, EffectWrite};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::ledger::entry_name;
use stepmark_core::load::damaged;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::RunRow;

use crate::place::{self, Space};
use crate::values::Coder;

impl Coder<'_> {
    /// Seals the second part of a manifest. Hashes are not computed.
    pub(crate) fn encode_manifest(&self, space: Space<'_>, row: &mut CheckpointRow) -> Result<()> {
        let Some(keys) = self.keys else { return Ok(()) };
        let parts = ManifestParts::of(&row.manifest).map_err(|error| damaged(Subject::Checkpoint, &row.id, error))?;
        if parts.is_sealed() {
            return Err(Error::invalid(Subject::Checkpoint, &row.id, "a codec sealed it already"));
        }
        let head = parts.head_as(true);
        let rest = keys.seal(&space.manifest(row, &head), parts.rest)?;
        row.manifest = join_manifest(&head, &rest);
        Ok(())
    }

    /// Opens the second part of a manifest, and gives it the hash that its writer knows.
    pub(crate) fn decode_manifest(&self, space: Space<'_>, row: &mut CheckpointRow) -> Result<()> {
        let Some(keys) = self.keys else { return Ok(()) };
        let parts = ManifestParts::of(&row.manifest).map_err(|error| damaged(Subject::Checkpoint, &row.id, error))?;
        if !parts.is_sealed() {
            return Err(Error::corrupt(Subject::Checkpoint, &row.id, "it is not sealed, as everything here is"));
        }
        let rest = keys.open(&space.manifest(row, parts.head), parts.rest, (Subject::Checkpoint, &row.id))?;
        row.manifest = join_manifest(&parts.head_as(false), &rest);
        row.manifest_hash = row.hash_manifest(space.thread, space.namespace);
        Ok(())
    }

    pub(crate) fn encode_pending(&self, space: Space<'_>, row: &mut PendingRow) -> Result<()> {
        if let Some(keys) = self.keys.filter(|_| row.kind != PendingKind::Child) {
            row.body = keys.seal(&space.pending(row), &row.body)?;
        }
        Ok(())
    }

    pub(crate) fn decode_pending(&self, space: Space<'_>, row: &mut PendingRow) -> Result<()> {
        if let Some(keys) = self.keys.filter(|_| row.kind != PendingKind::Child) {
            let name = format!("{} lane {:016x} number {}", row.base, row.lane.0, row.ordinal);
            row.body = keys.open(&space.pending(row), &row.body, (Subject::Pending, &name))?;
        }
        Ok(())
    }

    pub(crate) fn encode_run(&self, row: &mut RunRow) {
        if let Some(keys) = self.keys {
            row.input_hash = keys.blind(&place::input(&row.id), row.input_hash);
        }
    }

    pub(crate) fn decode_run(&self, row: &mut RunRow) {
        if let Some(keys) = self.keys {
            row.input_hash = keys.unblind(&place::input(&row.id), row.input_hash);
        }
    }

    pub(crate) fn encode_effect(&self, row: &mut EffectRow) -> Result<()> {
        let Some(keys) = self.keys else { return Ok(()) };
        row.fingerprint = keys.blind(&place::fingerprint(&row.key), row.fingerprint);
        if let Some(result) = &mut row.result {
            *result = keys.seal(&place::effect(self.thread, &row.key, row.generation), result)?;
        }
        Ok(())
    }

    pub(crate) fn decode_effect(&self, row: &mut EffectRow) -> Result<()> {
        let Some(keys) = self.keys else { return Ok(()) };
        row.fingerprint = keys.unblind(&place::fingerprint(&row.key), row.fingerprint);
        if let Some(result) = &mut row.result {
            let name = entry_name(&row.key, row.generation);
            let place = place::effect(self.thread, &row.key, row.generation);
            *result = keys.open(&place, result, (Subject::Effect, &name))?;
        }
        Ok(())
    }

    pub(crate) fn decode_entries(&self, entries: &mut [EffectEntry]) -> Result<()> {
        entries.iter_mut().try_for_each(|entry| self.decode_effect(&mut entry.row))
    }

    pub(crate) fn encode_effect_write(&self, write: &mut EffectWrite) -> Result<()> {
        let Some(keys) = self.keys else { return Ok(()) };
        match write {
            EffectWrite::Intent(EffectIntent { key, fingerprint, .. }) => {
                *fingerprint = keys.blind(&place::fingerprint(key), *fingerprint);
            }
            EffectWrite::Outcome(EffectOutcome { key, generation, end: EffectEnd::Done(result), .. }) => {
                *result = keys.seal(&place::effect(self.thread, key, *generation), result)?;
            }
            EffectWrite::Outcome(_) => {}
        }
        Ok(())
    }

    pub(crate) fn decode_reply(&self, reply: &mut EffectReply) -> Result<()> {
        match reply {
            EffectReply::Granted(row)
            | EffectReply::Done(row)
            | EffectReply::Mismatch(row)
            | EffectReply::Noted(row) => self.decode_effect(row),
            EffectReply::InProgress(entry) | EffectReply::Unknown(entry) => self.decode_effect(&mut entry.row),
        }
    }
}
