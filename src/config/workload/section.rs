//! A section of the YAML: each key with its text, type and default in one place.

macro_rules! section {
    ($(#[$m:meta])* pub struct $name:ident {
        $($(#[$km:meta])* pub $key:ident: $type:ty = $default:expr),+ $(,)?
    }) => {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default)]
        $(#[$m])*
        pub struct $name { $($(#[$km])* pub $key: $type),+ }
        impl Default for $name {
            fn default() -> Self { $name { $($key: $default),+ } }
        }
    };
}
