//! What EC2 answers, as far as it is used here.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Reads an answer.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    quick_xml::de::from_str(text).map_err(|e| e.to_string())
}

/// A list, as EC2 writes it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Items<T> {
    #[serde(rename = "item", default = "Vec::new")]
    pub item: Vec<T>,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self { item: Vec::new() }
    }
}

/// An answer of which nothing is used.
#[derive(Debug, Deserialize)]
pub(crate) struct Nothing {}

/// Why a call is refused.
#[derive(Debug, Deserialize)]
pub(crate) struct Errors {
    #[serde(rename = "Errors")]
    pub errors: ErrorList,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ErrorList {
    #[serde(rename = "Error", default)]
    pub error: Vec<ErrorOf>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ErrorOf {
    #[serde(rename = "Code", default)]
    pub code: String,
    #[serde(rename = "Message", default)]
    pub message: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Tag {
    pub key: String,
    #[serde(default)]
    pub value: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct State {
    #[serde(default)]
    pub name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Reason {
    #[serde(default)]
    pub message: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Placement {
    #[serde(default)]
    pub availability_zone: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instance {
    pub instance_id: String,
    #[serde(default)]
    pub instance_state: State,
    #[serde(default)]
    pub private_ip_address: String,
    #[serde(default)]
    pub ip_address: String,
    #[serde(default)]
    pub placement: Placement,
    #[serde(default)]
    pub state_reason: Reason,
    #[serde(default)]
    pub tag_set: Items<Tag>,
}

impl Instance {
    /// A tag's value.
    pub(crate) fn tag(&self, key: &str) -> Option<&str> {
        self.tag_set.item.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str()).filter(|value| !value.is_empty())
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reservation {
    #[serde(default)]
    pub instances_set: Items<Instance>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instances {
    #[serde(default)]
    pub reservation_set: Items<Reservation>,
    #[serde(default)]
    pub next_token: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Image {
    pub image_id: String,
    #[serde(default)]
    pub creation_date: String,
    #[serde(default)]
    pub root_device_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Images {
    #[serde(default)]
    pub images_set: Items<Image>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Vpc {
    pub vpc_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Vpcs {
    #[serde(default)]
    pub vpc_set: Items<Vpc>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subnet {
    pub availability_zone: String,
    pub subnet_id: String,
    pub vpc_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subnets {
    #[serde(default)]
    pub subnet_set: Items<Subnet>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Processor {
    #[serde(default)]
    pub supported_architectures: Items<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceType {
    #[serde(default)]
    pub processor_info: Processor,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceTypes {
    #[serde(default)]
    pub instance_type_set: Items<InstanceType>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyPair {
    pub key_pair_id: String,
    #[serde(default)]
    pub public_key: String,
    #[serde(default)]
    pub tag_set: Items<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyPairs {
    #[serde(default)]
    pub key_set: Items<KeyPair>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Range {
    #[serde(default, alias = "cidrIpv6")]
    pub cidr_ip: String,
    #[serde(default)]
    pub description: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pair {
    #[serde(default)]
    pub group_id: String,
    #[serde(default)]
    pub description: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Permission {
    #[serde(default)]
    pub ip_protocol: String,
    pub from_port: Option<i32>,
    pub to_port: Option<i32>,
    #[serde(default)]
    pub groups: Items<Pair>,
    #[serde(default)]
    pub ip_ranges: Items<Range>,
    #[serde(default)]
    pub ipv6_ranges: Items<Range>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Group {
    pub group_id: String,
    #[serde(default)]
    pub ip_permissions: Items<Permission>,
    #[serde(default)]
    pub tag_set: Items<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Groups {
    #[serde(default)]
    pub security_group_info: Items<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Console {
    #[serde(default)]
    pub output: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_what_they_leave_out() {
        let text = r#"<?xml version="1.0"?><DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>
            <reservationSet><item><reservationId>r-1</reservationId><instancesSet><item><instanceId>i-1</instanceId><instanceState><code>0</code>
            <name>pending</name></instanceState><ipAddress/><tagSet><item><key>swarm.host</key><value>m1</value></item><item><key>e</key><value/></item>
            </tagSet></item></instancesSet></item></reservationSet><nextToken/></DescribeInstancesResponse>"#;
        let read_one: Instances = read(text).unwrap();
        let instance = &read_one.reservation_set.item[0].instances_set.item[0];
        assert_eq!((instance.tag("swarm.host"), instance.tag("e"), instance.instance_state.name.as_str()), (Some("m1"), None, "pending"));
        assert!(read_one.next_token.is_empty() && instance.ip_address.is_empty());
        let refused: Errors =
            read("<Response><Errors><Error><Code>A</Code><Message>b</Message></Error></Errors><RequestID>x</RequestID></Response>")
                .unwrap();
        assert_eq!(refused.errors.error[0].code, "A");
        assert!(read::<Instances>("<html>").is_err());
    }
}
