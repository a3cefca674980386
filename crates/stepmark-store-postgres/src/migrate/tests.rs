//! Do the migrations lead to `schema.sql`, and do they never change?
