//! What metrics tell of a cgroup beside its usual figures: peaks, limits in force, huge pages.

use super::directory::Cgroup;
use super::error::CgroupError;
use super::statistics::number;

/// Huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HugePages {
    /// As the kernel has it in file names: `2MB`, `1GB`.
    pub page_size: String,
    /// Bytes in use.
    pub usage_bytes: u64,
}

/// Figures that are read less often; `None` where the controller, the file or the limit is missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// `memory.peak` (Linux 5.19): most bytes so far.
    pub memory_peak: Option<u64>,
    /// `memory.low`: what is reclaimed last.
    pub memory_low: Option<u64>,
    /// `pids.max`.
    pub pids_limit: Option<u64>,
    /// Huge pages by size.
    pub huge_pages: Vec<HugePages>,
}

impl Cgroup {
    /// Peaks, limits in force and huge pages.
    ///
    /// # Errors
    ///
    /// A failed system call.
    pub fn details(&self) -> Result<Details, CgroupError> {
        Ok(Details {
            memory_peak: self.number_of("memory", "memory.peak")?,
            memory_low: self.number_of("memory", "memory.low")?,
            pids_limit: self.number_of("pids", "pids.max")?,
            huge_pages: self.huge_pages()?,
        })
    }

    fn number_of(&self, controller: &str, file: &str) -> Result<Option<u64>, CgroupError> {
        if !self.inner.controllers.contains(controller) {
            return Ok(None);
        }
        Ok(self.read_if_present(file)?.as_deref().and_then(number))
    }

    fn huge_pages(&self) -> Result<Vec<HugePages>, CgroupError> {
        let mut all = Vec::new();
        for page_size in &self.inner.huge_page_sizes {
            let file = format!("hugetlb.{page_size}.current");
            if let Some(usage_bytes) = self.number_of("hugetlb", &file)? {
                all.push(HugePages {
                    page_size: page_size.clone(),
                    usage_bytes,
                });
            }
        }
        Ok(all)
    }
}

/// The sizes of huge pages of this machine, as the kernel has them in file names, from `/sys/kernel/mm/hugepages`.
pub(super) fn huge_page_sizes(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut sizes: Vec<u64> = names
        .filter_map(|name| {
            name.strip_prefix("hugepages-")?
                .strip_suffix("kB")?
                .parse()
                .ok()
        })
        .collect();
    sizes.sort_unstable();
    sizes.into_iter().map(page_size).collect()
}

fn page_size(kibibytes: u64) -> String {
    match kibibytes {
        gigabytes if gigabytes.is_multiple_of(1 << 20) => format!("{}GB", gigabytes >> 20),
        megabytes if megabytes.is_multiple_of(1 << 10) => format!("{}MB", megabytes >> 10),
        kilobytes => format!("{kilobytes}KB"),
    }
}

#[cfg(test)]
mod tests {
    use super::huge_page_sizes;

    #[test]
    fn page_sizes_are_named_as_the_kernel_names_its_files() {
        let names = [
            "hugepages-1048576kB",
            "hugepages-64kB",
            "hugepages-2048kB",
            "x",
        ];
        assert_eq!(
            huge_page_sizes(names.map(str::to_owned).into_iter()),
            ["64KB", "2MB", "1GB"]
        );
    }
}
