//! Can somebody who was away go on from the last event that he saw?
