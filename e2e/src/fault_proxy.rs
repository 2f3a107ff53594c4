//! x
pub struct FaultProxy;
pub struct Fault;
pub struct Matching;
impl FaultProxy {
    pub fn url(&self) -> String {
        String::new()
    }
}
