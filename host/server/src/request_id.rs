//! The identifier of a request.

/// What a request is called in the log and in the `x-request-id` header.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);
