//! Images: references, pull, import, records.
