//! The join of two lists of tags, partitioned by radix so that each part stays in the cache.
