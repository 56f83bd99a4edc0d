//! Montgomery's product and square by the instructions MULX, ADCX and ADOX, which LLVM does not bring itself to use.
//!
//! A product is made row by row, each with two chains of carries side by side, and reduced after each row as the portable
//! function does it. A square comes whole first, since half of its products are the same; then its lower half is reduced
//! and added to the upper one.

use std::arch::asm;
use std::sync::atomic::{AtomicU8, Ordering};

use super::Limbs;

/// Whether the processor has the instructions.
#[inline(always)]
pub(super) fn available() -> bool {
    const UNKNOWN: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;
    static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

    #[cold]
    fn ask() -> bool {
        let yes = is_x86_feature_detected!("bmi2") && is_x86_feature_detected!("adx");
        STATE.store(if yes { YES } else { NO }, Ordering::Relaxed);
        yes
    }
    // The answer is asked for with each product, so the usual one has to come by a single comparison.
    match STATE.load(Ordering::Relaxed) {
        YES => true,
        NO => false,
        _ => ask(),
    }
}

/// One step of the reduction: adds the multiple of p that clears the lowest word, `$w0`, and leaves the new highest word
/// in its place.
macro_rules! reduce_step {
    ($w0:literal, $w1:literal, $w2:literal, $w3:literal) => {
        concat!(
            "mov {lo}, {",
            $w0,
            "}\n",
            "mov {hi}, {",
            $w0,
            "}\n",
            "mov rdx, {",
            $w0,
            "}\n",
            "shl {lo}, 32\n",
            "shr {hi}, 32\n",
            "sub {",
            $w1,
            "}, {lo}\n",
            "sbb {",
            $w2,
            "}, {hi}\n",
            "sbb {",
            $w3,
            "}, {lo}\n",
            "sbb {",
            $w0,
            "}, {hi}\n",
            "add {",
            $w1,
            "}, rdx\n",
            "adc {",
            $w2,
            "}, 0\n",
            "adc {",
            $w3,
            "}, 0\n",
            "adc {",
            $w0,
            "}, 0\n",
        )
    };
}

/// Reduces the product in w0 to w7; the result is in w4 to w7.
macro_rules! reduce {
    () => {
        concat!(
            reduce_step!("w0", "w1", "w2", "w3"),
            reduce_step!("w1", "w2", "w3", "w0"),
            reduce_step!("w2", "w3", "w0", "w1"),
            reduce_step!("w3", "w0", "w1", "w2"),
            "xor edx, edx\n",
            "add {w4}, {w0}\n",
            "adc {w5}, {w1}\n",
            "adc {w6}, {w2}\n",
            "adc {w7}, {w3}\n",
            "adc rdx, 0\n",
            // Less p, where that is not negative.
            "movabs {lo}, 0xffffffff00000000\n",
            "movabs {hi}, 0xfffffffeffffffff\n",
            "mov {w0}, {w4}\n",
            "mov {w1}, {w5}\n",
            "mov {w2}, {w6}\n",
            "mov {w3}, {w7}\n",
            "sub {w0}, -1\n",
            "sbb {w1}, {lo}\n",
            "sbb {w2}, -1\n",
            "sbb {w3}, {hi}\n",
            "sbb rdx, 0\n",
            "cmovnc {w4}, {w0}\n",
            "cmovnc {w5}, {w1}\n",
            "cmovnc {w6}, {w2}\n",
            "cmovnc {w7}, {w3}\n",
        )
    };
}

/// Clears the lowest word of five by a multiple of p; what is carried out of the highest takes its place.
macro_rules! reduce_row {
    ($t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal) => {
        concat!(
            "mov {lo}, {",
            $t0,
            "}\n",
            "mov {hi}, {",
            $t0,
            "}\n",
            "mov rdx, {",
            $t0,
            "}\n",
            "shl {lo}, 32\n",
            "shr {hi}, 32\n",
            "sub {",
            $t1,
            "}, {lo}\n",
            "sbb {",
            $t2,
            "}, {hi}\n",
            "sbb {",
            $t3,
            "}, {lo}\n",
            "sbb {",
            $t0,
            "}, {hi}\n",
            "add {",
            $t1,
            "}, rdx\n",
            "adc {",
            $t2,
            "}, 0\n",
            "adc {",
            $t3,
            "}, 0\n",
            "adc {",
            $t4,
            "}, {",
            $t0,
            "}\n",
            "mov {",
            $t0,
            ":e}, 0\n",
            "adc {",
            $t0,
            "}, 0\n",
        )
    };
}

/// Adds `a[i] * b` to five words, the highest of them 0 or 1.
macro_rules! row {
    ($offset:literal, $t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal) => {
        concat!(
            "mov rdx, [{a} + ",
            $offset,
            "]\n",
            "xor {hi:e}, {hi:e}\n",
            "mulx {hi}, {lo}, [{b}]\n",
            "adcx {",
            $t0,
            "}, {lo}\n",
            "adox {",
            $t1,
            "}, {hi}\n",
            "mulx {hi}, {lo}, [{b} + 8]\n",
            "adcx {",
            $t1,
            "}, {lo}\n",
            "adox {",
            $t2,
            "}, {hi}\n",
            "mulx {hi}, {lo}, [{b} + 16]\n",
            "adcx {",
            $t2,
            "}, {lo}\n",
            "adox {",
            $t3,
            "}, {hi}\n",
            "mulx {hi}, {lo}, [{b} + 24]\n",
            "adcx {",
            $t3,
            "}, {lo}\n",
            "adox {",
            $t4,
            "}, {hi}\n",
            "mov {lo:e}, 0\n",
            "adcx {",
            $t4,
            "}, {lo}\n",
        )
    };
}

/// Montgomery's product, for `b` below p, so that the five words never overflow. The processor must have the instructions.
#[inline(always)]
pub(super) unsafe fn multiply(a: &Limbs, b: &Limbs) -> Limbs {
    let [r0, r1, r2, r3]: Limbs;
    // SAFETY: it reads the two arrays, writes registers alone, and the caller vouches for the instructions.
    unsafe {
        asm!(
            "mov rdx, [{a}]",
            "mulx {t1}, {t0}, [{b}]",
            "mulx {t2}, {lo}, [{b} + 8]",
            "add {t1}, {lo}",
            "mulx {t3}, {lo}, [{b} + 16]",
            "adc {t2}, {lo}",
            "mulx {t4}, {lo}, [{b} + 24]",
            "adc {t3}, {lo}",
            "adc {t4}, 0",
            reduce_row!("t0", "t1", "t2", "t3", "t4"),
            row!("8", "t1", "t2", "t3", "t4", "t0"),
            reduce_row!("t1", "t2", "t3", "t4", "t0"),
            row!("16", "t2", "t3", "t4", "t0", "t1"),
            reduce_row!("t2", "t3", "t4", "t0", "t1"),
            row!("24", "t3", "t4", "t0", "t1", "t2"),
            reduce_row!("t3", "t4", "t0", "t1", "t2"),
            // Less p, where that is not negative.
            "movabs {hi}, 0xffffffff00000000",
            "mov {lo}, {t4}",
            "mov rdx, {t0}",
            "mov {a}, {t1}",
            "mov {b}, {t2}",
            "sub {lo}, -1",
            "sbb rdx, {hi}",
            "movabs {hi}, 0xfffffffeffffffff",
            "sbb {a}, -1",
            "sbb {b}, {hi}",
            "sbb {t3}, 0",
            "cmovnc {t4}, {lo}",
            "cmovnc {t0}, rdx",
            "cmovnc {t1}, {a}",
            "cmovnc {t2}, {b}",
            a = inout(reg) a.as_ptr() => _,
            b = inout(reg) b.as_ptr() => _,
            t4 = out(reg) r0, t0 = out(reg) r1, t1 = out(reg) r2, t2 = out(reg) r3,
            t3 = out(reg) _, lo = out(reg) _, hi = out(reg) _,
            out("rdx") _,
            options(pure, readonly, nostack),
        );
    }
    [r0, r1, r2, r3]
}

/// Montgomery's square. The processor must have the instructions.
#[inline(always)]
pub(super) unsafe fn square(a: &Limbs) -> Limbs {
    let [r0, r1, r2, r3]: Limbs;
    // SAFETY: as above.
    unsafe {
        asm!(
            // The products of different words, once.
            "mov rdx, [{a}]",
            "mulx {w2}, {w1}, [{a} + 8]",
            "mulx {w3}, {lo}, [{a} + 16]",
            "add {w2}, {lo}",
            "mulx {w4}, {lo}, [{a} + 24]",
            "adc {w3}, {lo}",
            "adc {w4}, 0",
            "mov rdx, [{a} + 8]",
            "xor {w5:e}, {w5:e}",
            "mulx {hi}, {lo}, [{a} + 16]",
            "adcx {w3}, {lo}",
            "adox {w4}, {hi}",
            "mulx {hi}, {lo}, [{a} + 24]",
            "adcx {w4}, {lo}",
            "adox {w5}, {hi}",
            "mov rdx, [{a} + 16]",
            "mulx {w6}, {lo}, [{a} + 24]",
            "mov {hi:e}, 0",
            "adcx {w5}, {lo}",
            "adcx {w6}, {hi}",
            // Twice that, and the squares.
            "xor {w7:e}, {w7:e}",
            "mov rdx, [{a}]",
            "mulx {hi}, {w0}, rdx",
            "adcx {w1}, {w1}",
            "adox {w1}, {hi}",
            "mov rdx, [{a} + 8]",
            "mulx {hi}, {lo}, rdx",
            "adcx {w2}, {w2}",
            "adox {w2}, {lo}",
            "adcx {w3}, {w3}",
            "adox {w3}, {hi}",
            "mov rdx, [{a} + 16]",
            "mulx {hi}, {lo}, rdx",
            "adcx {w4}, {w4}",
            "adox {w4}, {lo}",
            "adcx {w5}, {w5}",
            "adox {w5}, {hi}",
            "mov rdx, [{a} + 24]",
            "mulx {hi}, {lo}, rdx",
            "adcx {w6}, {w6}",
            "adox {w6}, {lo}",
            "adcx {w7}, {w7}",
            "adox {w7}, {hi}",
            reduce!(),
            a = in(reg) a.as_ptr(),
            w0 = out(reg) _, w1 = out(reg) _, w2 = out(reg) _, w3 = out(reg) _,
            w4 = out(reg) r0, w5 = out(reg) r1, w6 = out(reg) r2, w7 = out(reg) r3,
            lo = out(reg) _, hi = out(reg) _,
            out("rdx") _,
            options(pure, readonly, nostack),
        );
    }
    [r0, r1, r2, r3]
}
