//! The data sets: files of which three fifths are text that compresses and the rest does not. The same bytes each time.

use std::{fs, io::Write as _, path::Path};

use anyhow::Result;

/// What volumes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// Three files of 1 MB, in each of two volumes.
    Tiny,
    /// 10,000 files of 100 to 500 kB, two of 240 MB and two of 160 MB.
    Big,
    /// 100,000 files of 2 to 10 kB.
    Small,
}

impl Set {
    pub(crate) const ALL: [Self; 3] = [Self::Tiny, Self::Big, Self::Small];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Big => "big",
            Self::Small => "small",
        }
    }

    /// How many volumes hold it.
    pub(crate) fn volumes(self) -> usize {
        if self == Self::Tiny { 2 } else { 1 }
    }

    /// Makes it; `scale` divides the number of files.
    pub(crate) fn make(self, directory: &Path, scale: u64) -> Result<()> {
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        match self {
            Self::Tiny => {
                fs::create_dir_all(directory)?;
                (0..3).try_for_each(|n| file(&directory.join(format!("f{n}")), 1_000_000, &mut noise))
            }
            Self::Big => {
                many(directory, 10_000 / scale, 100_000, 400_000, &mut noise)?;
                [240, 240, 160, 160].into_iter().enumerate().try_for_each(|(n, megabytes)| {
                    file(&directory.join(format!("large{n}")), megabytes * 1_000_000 / scale, &mut noise)
                })
            }
            Self::Small => many(directory, 100_000 / scale, 2_000, 8_000, &mut noise),
        }
    }
}

fn many(directory: &Path, count: u64, least: u64, span: u64, noise: &mut Noise) -> Result<()> {
    for n in 0..count {
        let below = directory.join(format!("d{:03}", n / 200));
        if n % 200 == 0 {
            fs::create_dir_all(&below)?;
        }
        let size = least + noise.next() % span;
        file(&below.join(format!("f{n:06}")), size, noise)?;
    }
    Ok(())
}

/// A file of so many bytes.
fn file(path: &Path, size: u64, noise: &mut Noise) -> Result<()> {
    let mut out = std::io::BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
    let mut left = size;
    while left > 0 {
        let text = format!(
            "{{\"at\":\"2026-11-{:02}T{:02}:00:00Z\",\"level\":\"info\",\"id\":{},\"message\":\"request handled\"}}\n",
            noise.next() % 28 + 1,
            noise.next() % 24,
            noise.next() % 100_000
        );
        let mut block = text.into_bytes();
        // Two bytes of noise for three of text.
        for _ in 0..block.len() / 12 {
            block.extend_from_slice(&noise.next().to_le_bytes());
        }
        let length = left.min(block.len() as u64);
        out.write_all(block.get(..usize::try_from(length)?).unwrap_or(&block))?;
        left -= length;
    }
    out.flush()?;
    Ok(())
}

/// Numbers without an order. Source: G. Marsaglia, "Xorshift RNGs", 2003.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
