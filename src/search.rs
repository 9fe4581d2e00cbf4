// SPDX-License-Identifier: GPL-2.0

//! Binary search.

/// Returns the number of elements for which `is_before` returns `true`. They must precede all other
/// elements.
///
/// Like [`slice::partition_point`], but without code that may panic.
pub(crate) fn partition_point<T>(elements: &[T], is_before: impl Fn(&T) -> bool) -> usize {
    let mut elements = elements;
    let mut before: usize = 0;
    while let Some((low, high)) = elements.split_at_checked(elements.len() / 2) {
        match high.split_first() {
            None => break,
            Some((middle, high)) if is_before(middle) => {
                before = before.wrapping_add(low.len()).wrapping_add(1);
                elements = high;
            }
            Some(_) => elements = low,
        }
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_core() {
        let numbers: Vec<u32> = (0..40).map(|number| number * 2).collect();
        for len in 0..numbers.len() {
            let numbers = &numbers[..len];
            for limit in 0..82 {
                let want = numbers.partition_point(|number| *number < limit);
                assert_eq!(partition_point(numbers, |number| *number < limit), want);
            }
        }
    }
}
