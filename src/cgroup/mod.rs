//! Control groups: paths, limits, statistics, and the end of a group.
