//! Working memory that a thread keeps between operations, so that hot paths don't allocate.

use std::cell::RefCell;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Values in a cache line: buffers start on one.
const LINE: usize = 16;

/// Calls `work` with `len` values of unspecified content, aligned to a cache line.
pub(crate) fn with<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len + LINE {
        buffer.clear();
        buffer.resize(len + LINE, 0.0);
    }
    let start = buffer.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    let result = work(&mut buffer[start..start + len]);
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}

#[cfg(test)]
mod tests {
    #[test]
    fn nested_buffers_are_apart() {
        super::with(10, |a| {
            a.fill(1.0);
            super::with(20, |b| b.fill(2.0));
            assert!(a.iter().all(|&x| x == 1.0));
        });
    }
}
