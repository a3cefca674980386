//! Durable state graphs for AI agents: git for agent state, with crash recovery.
