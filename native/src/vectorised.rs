//! Loops that the compiler vectorises, compiled twice: for AVX2 and for what every processor has.

/// Runs a function compiled for AVX2 where there is that, and the same function as it is elsewhere.
///
/// Generic parameters are given twice, in brackets: as declared, and as passed on.
macro_rules! vectorised {
    (
        $(#[$meta:meta])*
        fn $name:ident $([$($declared:tt)*][$($passed:tt)*])?($($argument:ident: $type:ty),* $(,)?) $body:block
    ) => {
        $(#[$meta])*
        fn $name $(<$($declared)*>)?($($argument: $type),*) {
            #[inline(always)]
            fn inner $(<$($declared)*>)?($($argument: $type),*) $body

            #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
            {
                #[target_feature(enable = "avx2")]
                fn with_avx2 $(<$($declared)*>)?($($argument: $type),*) {
                    inner $(::<$($passed)*>)?($($argument),*)
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the feature was detected.
                    return unsafe { with_avx2 $(::<$($passed)*>)?($($argument),*) };
                }
            }
            inner $(::<$($passed)*>)?($($argument),*)
        }
    };
}

pub(crate) use vectorised;
