//! The syntax tree of a template.
//!
//! Chains, such as `a + b + c` or `a.b.c()`, are lists: the depth of the tree is that of the brackets and blocks.

use std::sync::Arc;

pub(super) type Name = Arc<str>;

/// A statement and the line where it begins.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) line: u32,
    pub(super) kind: StatementKind,
}

pub(super) type Block = Vec<Statement>;

#[derive(Debug)]
pub(super) enum StatementKind {
    /// Text between the tags.
    Text(Arc<str>),
    /// `{{ ... }}`
    Print(Expr),
    /// Conditions with their blocks, and the block of `else`.
    If(Vec<(Expr, Block)>, Block),
    For(Arc<For>),
    Break,
    Continue,
    /// `{% set a, b = ... %}`
    Set(Target, Expr),
    /// `{% set a %}...{% endset %}`, with filters.
    SetBlock(Target, Vec<Filter>, Block),
    Macro(Arc<Macro>),
    /// `{% call(...) f(...) %}...{% endcall %}`: the call, and the block as a macro.
    Call(Expr, Arc<Macro>),
    /// `{% filter f %}...{% endfilter %}`
    Filter(Vec<Filter>, Block),
    With(Vec<(Target, Expr)>, Block),
    /// A block that is no more than that: `{% block %}`, `{% generation %}`.
    Scope(Block),
}

#[derive(Debug)]
pub(crate) struct For {
    pub(super) target: Target,
    pub(super) items: Expr,
    pub(super) condition: Option<Expr>,
    pub(super) body: Block,
    pub(super) otherwise: Block,
    pub(super) recursive: bool,
}

#[derive(Debug)]
pub(crate) struct Macro {
    pub(super) name: Name,
    pub(super) parameters: Vec<Name>,
    /// Of the last parameters.
    pub(super) defaults: Vec<Expr>,
    pub(super) body: Block,
}

/// What is assigned to.
#[derive(Debug)]
pub(super) enum Target {
    Name(Name),
    /// An attribute of a namespace.
    Attribute(Name, Name),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub(super) struct Filter {
    pub(super) name: Name,
    pub(super) arguments: Arguments,
}

#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Expr>,
    pub(super) named: Vec<(Name, Expr)>,
    /// `*list`
    pub(super) list: Option<Box<Expr>>,
    /// `**map`
    pub(super) map: Option<Box<Expr>>,
}

#[derive(Debug)]
pub(super) enum Expr {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<str>),
    Name(Name),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    /// `value if condition else otherwise`, where more conditions may follow: `a if b if c else d`.
    If(Box<Expr>, Vec<(Expr, Option<Expr>)>),
    Or(Vec<Expr>),
    And(Vec<Expr>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    /// `a < b <= c`
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    /// Operators of equal precedence, from left to right.
    Arithmetic(Box<Expr>, Vec<(Operator, Expr)>),
    /// `a ~ b`
    Concat(Vec<Expr>),
    Postfix(Box<Expr>, Vec<Postfix>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
}

/// What follows an expression.
#[derive(Debug)]
pub(super) enum Postfix {
    Attribute(Name),
    Item(Expr),
    Slice(Box<[Option<Expr>; 3]>),
    Call(Arguments),
    Filter(Filter),
    /// `is`, and whether it is `is not`.
    Test(Filter, bool),
}
