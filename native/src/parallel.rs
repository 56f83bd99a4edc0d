//! How a batch is spread over threads: one pool for the process, and none for a small batch.

use std::process;
use std::sync::OnceLock;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// The environment variable that says how many threads to use; unset means one for each core.
pub const THREADS_VARIABLE: &str = "UNSEEN_THREADS";

/// How finely a kernel's work is cut.
#[derive(Clone, Copy)]
pub struct Grain {
    /// A batch of at most this many rows stays on the calling thread, so that it never waits for the pool.
    pub serial: usize,
    /// The most rows handed out at once. Bounds the temporary memory, and the work lost at the end of a batch.
    pub chunk: usize,
}

/// For group operations: about 50 µs a row.
pub const GROUP: Grain = Grain { serial: 8, chunk: 256 };
/// For hashing: below 1 µs a row.
pub const HASH: Grain = Grain { serial: 2048, chunk: 4096 };
/// For a stream cipher over rows of 64 KiB: about 10 µs a row. Memory, not the cipher, bounds what more threads give.
pub const STREAM: Grain = Grain { serial: 16, chunk: 16 };

/// For a few cycles a row of 16 bytes: a cipher call, or a field multiplication.
pub const BLOCKS: Grain = Grain { serial: 1 << 14, chunk: 1 << 14 };
/// For trees of some thousand leaves: about 20 µs a row.
pub const TREE: Grain = Grain { serial: 8, chunk: 16 };

/// For polynomials of some thousand coefficients: about 100 µs a row.
pub const POLYNOMIAL: Grain = Grain { serial: 2, chunk: 16 };

/// How many threads a large batch uses.
///
/// Errors where `UNSEEN_THREADS` is set to something that is not a whole number from 1 to 1024.
pub fn threads() -> Result<usize, String> {
    static THREADS: OnceLock<Result<usize, String>> = OnceLock::new();
    THREADS
        .get_or_init(|| match std::env::var(THREADS_VARIABLE) {
            Err(std::env::VarError::NotPresent) => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
            Ok(text) => match text.parse() {
                Ok(threads @ 1..=1024) => Ok(threads),
                _ => Err(bad_threads()),
            },
            Err(std::env::VarError::NotUnicode(_)) => Err(bad_threads()),
        })
        .clone()
}

fn bad_threads() -> String {
    format!("{THREADS_VARIABLE} must be a whole number from 1 to 1024; unset it to use every core")
}

/// The pool, built when the first large batch needs it; none where one thread is all there is.
fn pool() -> Option<&'static ThreadPool> {
    static POOL: OnceLock<Option<(u32, ThreadPool)>> = OnceLock::new();
    let built = POOL.get_or_init(|| {
        let threads = threads().unwrap_or(1);
        if threads == 1 {
            return None;
        }
        // Where the system grants no threads the work is still done, on the caller's own.
        let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("unseen-{i}")).build();
        pool.ok().map(|pool| (process::id(), pool))
    });
    // A forked child inherits the pool without its threads, and would wait for them for ever.
    built.as_ref().filter(|(owner, _)| *owner == process::id()).map(|(_, pool)| pool)
}

/// Fills `out`, rows of `width` bytes, chunk by chunk: `work(i, rows)` fills the rows from row `i` on.
///
/// Returns the error of the lowest chunk that failed, so that the index it names does not depend on timing.
pub fn fill_rows<T, E, F>(out: &mut [T], width: usize, grain: Grain, work: F) -> Result<(), E>
where
    T: Send,
    E: Send,
    F: Fn(usize, &mut [T]) -> Result<(), E> + Sync,
{
    let rows = out.len() / width;
    let pool = if rows > grain.serial { pool() } else { None };
    match pool {
        Some(pool) => {
            let chunk = rows.div_ceil(pool.current_num_threads()).clamp(1, grain.chunk);
            let failed = pool.install(|| {
                out.par_chunks_mut(chunk * width).enumerate().find_map_first(|(i, rows)| work(i * chunk, rows).err())
            });
            failed.map_or(Ok(()), Err)
        }
        None => {
            let mut chunks = out.chunks_mut(grain.chunk * width).enumerate();
            chunks.try_for_each(|(i, rows)| work(i * grain.chunk, rows))
        }
    }
}

/// Fills `out`, `rows` rows of one width, in blocks of whole columns: `work(first, pieces)` fills columns `first` on, of
/// which `pieces` has one slice for each row.
pub fn fill_columns<T, F>(out: &mut [T], rows: usize, grain: Grain, work: F)
where
    T: Send,
    F: Fn(usize, &mut [&mut [T]]) + Sync,
{
    let width = out.len() / rows;
    if width == 0 {
        return;
    }
    let mut blocks: Vec<Vec<&mut [T]>> = (0..width.div_ceil(grain.chunk)).map(|_| Vec::with_capacity(rows)).collect();
    for row in out.chunks_exact_mut(width) {
        for (block, piece) in blocks.iter_mut().zip(row.chunks_mut(grain.chunk)) {
            block.push(piece);
        }
    }
    match if width > grain.serial { pool() } else { None } {
        Some(pool) => pool.install(|| {
            blocks.par_iter_mut().enumerate().for_each(|(i, pieces)| work(i * grain.chunk, pieces));
        }),
        None => blocks.iter_mut().enumerate().for_each(|(i, pieces)| work(i * grain.chunk, pieces)),
    }
}

/// Runs `work(i)` for every `i` below `rows`.
pub fn each<F>(rows: usize, grain: Grain, work: F)
where
    F: Fn(usize) + Sync,
{
    match if rows > grain.serial { pool() } else { None } {
        Some(pool) => pool.install(|| (0..rows).into_par_iter().with_max_len(grain.chunk).for_each(&work)),
        None => (0..rows).for_each(work),
    }
}

/// Fills two outputs at once, which have as many rows as each other but for a last, shorter one: `work(i, a, b)` fills the
/// rows from row `i` on of both. Each output comes with the width of its rows.
pub fn fill_two<A, B, F>((a, a_width): (&mut [A], usize), (b, b_width): (&mut [B], usize), grain: Grain, work: F)
where
    A: Send,
    B: Send,
    F: Fn(usize, &mut [A], &mut [B]) + Sync,
{
    let rows = a.len() / a_width;
    let pool = if rows > grain.serial { pool() } else { None };
    match pool {
        Some(pool) => {
            let chunk = rows.div_ceil(pool.current_num_threads()).clamp(1, grain.chunk);
            let both = a.par_chunks_mut(chunk * a_width).zip(b.par_chunks_mut(chunk * b_width));
            pool.install(|| both.enumerate().for_each(|(i, (a, b))| work(i * chunk, a, b)));
        }
        None => work(0, a, b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_filled_once() {
        for rows in [0, 1, 8, 9, 255, 256, 257, 1000] {
            let mut out = vec![0u32; rows * 3];
            fill_rows(&mut out, 3, GROUP, |first, chunk| {
                for (i, row) in chunk.chunks_exact_mut(3).enumerate() {
                    row.iter_mut().for_each(|value| *value += (first + i) as u32 + 1);
                }
                Ok::<(), ()>(())
            })
            .unwrap();
            assert!(out.iter().enumerate().all(|(i, &value)| value == (i / 3) as u32 + 1));
        }
    }

    #[test]
    fn every_column_is_filled_once() {
        for width in [0, 1, 8, 9, 255, 256, 257, 1000] {
            let mut out = vec![0u32; width * 3];
            fill_columns(&mut out, 3, GROUP, |first, pieces| {
                for (row, piece) in pieces.iter_mut().enumerate() {
                    piece.iter_mut().enumerate().for_each(|(i, value)| *value += (3 * (first + i) + row) as u32 + 1);
                }
            });
            assert!(out.iter().enumerate().all(|(i, &value)| value as usize == 3 * (i % width) + i / width + 1));
        }
    }

    #[test]
    fn the_first_error_wins() {
        let mut out = vec![0u8; 4096];
        let failed = fill_rows(&mut out, 1, GROUP, |first, chunk| {
            (first..first + chunk.len()).find(|i| i % 700 == 699).map_or(Ok(()), Err)
        });
        assert_eq!(failed, Err(699));
    }
}
