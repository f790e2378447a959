//! Who sent a request.

use crate::access::Client;
use crate::request_id::RequestId;

/// A request that was let through, and the client whose allowance it uses.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) request: RequestId,
    pub(crate) client: Client,
}
