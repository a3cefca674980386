//! Contracts and data of Stepmark: ids, stored records, the store seam, the memory store.
