//! Stores that change one thing about another store, and hand on the rest.

/// The methods of [`chatvault_engine::store::Store`] that are named, each handed on to the field `inner`.
#[macro_export]
macro_rules! hand_on {
    ($($method:ident)*) => {
        $($crate::hand_on!(@ $method);)*
    };
    (@ put_new) => {
        fn put_new(
            &self,
            name: &::chatvault_engine::store::ObjectName,
            bytes: &[u8],
        ) -> ::chatvault_engine::base::Result<()> {
            self.inner.put_new(name, bytes)
        }
    };
    (@ list) => {
        fn list(
            &self,
            prefix: &str,
        ) -> ::chatvault_engine::base::Result<::chatvault_engine::store::Listing> {
            self.inner.list(prefix)
        }
    };
    // What no test changes so far.
    (@ rest) => {
        fn get(
            &self,
            name: &::chatvault_engine::store::ObjectName,
            max_len: u64,
        ) -> ::chatvault_engine::base::Result<Vec<u8>> {
            self.inner.get(name, max_len)
        }

        fn get_range(
            &self,
            name: &::chatvault_engine::store::ObjectName,
            offset: u64,
            len: u64,
        ) -> ::chatvault_engine::base::Result<Vec<u8>> {
            self.inner.get_range(name, offset, len)
        }

        fn delete(&self, name: &::chatvault_engine::store::ObjectName) -> ::chatvault_engine::base::Result<()> {
            self.inner.delete(name)
        }

        fn stat(
            &self,
            name: &::chatvault_engine::store::ObjectName,
        ) -> ::chatvault_engine::base::Result<Option<::chatvault_engine::store::ObjectInfo>> {
            self.inner.stat(name)
        }

        fn capabilities(&self) -> ::chatvault_engine::store::Capabilities {
            self.inner.capabilities()
        }

        fn free_space(&self) -> ::chatvault_engine::base::Result<Option<u64>> {
            self.inner.free_space()
        }

        fn location(&self) -> String {
            self.inner.location()
        }

        fn local_path(&self) -> Option<&::std::path::Path> {
            self.inner.local_path()
        }
    };
}
